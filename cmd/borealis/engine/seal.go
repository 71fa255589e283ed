package engine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"borealis/cmd/hint"
	"borealis/tunnel/keys/seal"
)

// SealCredential is the name under which systemd hands the key over: LoadCredential=.
const SealCredential = "borealis-seal"

// Seal says where the key is that unseals an engine's secrets. It is never below
// the data root, so that a backup of that opens nothing.
type Seal struct {
	KeyFile        string // "": the credential of systemd, else a file beside the data root
	PassphraseFile string // with a passphrase in place of a key; "": none
}

// Path is where the key of a data root is, when neither a credential nor a passphrase is used.
func (s Seal) Path(root Root) string {
	if s.KeyFile != "" {
		return s.KeyFile
	}
	return filepath.Clean(string(root)) + ".key"
}

// Open returns the box of a data root. The key file is made when there is none and
// nothing was sealed yet: a key that is lost is never replaced by another one.
func (s Seal) Open(root Root) (*seal.Box, error) {
	switch {
	case s.PassphraseFile != "":
		return s.openPassphrase(root)
	case s.KeyFile == "":
		if box, err := openCredential(); box != nil || err != nil {
			return box, err
		}
	}
	path := s.Path(root)
	if inside(string(root), path) {
		return nil, hint.Usage(fmt.Sprintf("--seal-key %s is inside the data root: a backup of it would open itself; choose another place", path))
	}
	box, err := seal.Load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return box, err
	}
	sealed, err := root.sealed()
	if err != nil {
		return nil, err
	}
	if sealed {
		return nil, &hint.Error{
			Err:  fmt.Errorf("the key that unseals the engine's secrets is missing: %s", path),
			Hint: "restore it from where you keep it, or name its place with --seal-key; no new key can open what the old one sealed",
		}
	}
	box, err = seal.Create(path)
	if err != nil {
		return nil, &hint.Error{Err: fmt.Errorf("make the key that seals the engine's secrets: %w", err), Hint: "name a place that you may write to with --seal-key FILE, or use --seal-passphrase-file"}
	}
	return box, nil
}

// openCredential reads the key that systemd hands over; nil when there is none. systemd
// itself keeps others from its folder, by an access list that a mode does not show.
func openCredential() (*seal.Box, error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return nil, nil
	}
	path := filepath.Join(dir, SealCredential)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the credential %s: %w", SealCredential, err)
	}
	box, err := seal.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("read the credential %s: %s: %w", SealCredential, path, err)
	}
	return box, nil
}

// openPassphrase makes the box of a passphrase. Its salt is in the data root: it is no
// secret, and belongs to what it sealed.
func (s Seal) openPassphrase(root Root) (*seal.Box, error) {
	b, err := os.ReadFile(s.PassphraseFile)
	if err != nil {
		return nil, fmt.Errorf("read the passphrase: %w", err)
	}
	passphrase := strings.TrimRight(string(b), "\r\n")
	if len(passphrase) < minPassphrase {
		return nil, hint.Usage(fmt.Sprintf("--seal-passphrase-file: the passphrase needs %d characters or more", minPassphrase))
	}
	salt, err := root.salt()
	if err != nil {
		return nil, err
	}
	return seal.FromPassphrase(passphrase, salt), nil
}

const (
	minPassphrase = 15 // characters, as of operators' passwords
	saltSize      = 16 // bytes
)

// salt reads the salt of the passphrase, or makes it.
func (d Root) salt() ([]byte, error) {
	path := filepath.Join(d.Certificates(), "seal.salt")
	salt, err := os.ReadFile(path)
	switch {
	case err == nil && len(salt) == saltSize:
		return salt, nil
	case err == nil:
		return nil, fmt.Errorf("%s is damaged: restore it from a backup", path)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read the salt of the passphrase: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the salt of the passphrase: %w", err)
	}
	salt = make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the salt of the passphrase: %w", err)
	}
	_, err = f.Write(salt)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("make the salt of the passphrase: %w", err)
	}
	return salt, nil
}

// sealed reports whether secrets of the data root are sealed already.
func (d Root) sealed() (bool, error) {
	b, err := os.ReadFile(filepath.Join(d.Certificates(), "identity.key"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the engine's identity: %w", err)
	}
	return seal.IsSealed(b), nil
}

// inside reports whether a path is below a folder.
func inside(dir, path string) bool {
	below, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(below)
}
