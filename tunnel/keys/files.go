package keys

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"borealis/tunnel/keys/seal"
)

// maxFile bounds what is read from a key file; real ones stay under 1 KiB.
const maxFile = 64 << 10

// certPair is a private key and the certificate around it, in two files. The key is
// sealed at rest when there is a box; without one it is plain.
type certPair struct {
	dir, key, cert string
	box            *seal.Box
}

func (p certPair) keyPath() string  { return filepath.Join(p.dir, p.key) }
func (p certPair) certPath() string { return filepath.Join(p.dir, p.cert) }

// open loads the pair, or writes what create returns when both files are absent.
func (p certPair) open(create func() (crypto.Signer, *x509.Certificate, error)) (crypto.Signer, *x509.Certificate, error) {
	private, cert, err := p.load()
	if !errors.Is(err, fs.ErrNotExist) {
		return private, cert, err
	}
	unlock, err := lockDir(p.dir)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	// Another process may have written them, or half of them, meanwhile.
	private, cert, err = p.load()
	if !errors.Is(err, fs.ErrNotExist) {
		return private, cert, err
	}
	if err := p.half(); err != nil {
		return nil, nil, err
	}
	private, cert, err = create()
	if err != nil {
		return nil, nil, err
	}
	return private, cert, p.writeNew(private, cert)
}

// writeNew writes a pair of which no file is there yet.
func (p certPair) writeNew(private crypto.Signer, cert *x509.Certificate) error {
	block, err := privatePEM(private)
	if err != nil {
		return err
	}
	if err := writeNew(p.keyPath(), sealed(p.box, p.key, block)); err != nil {
		return err
	}
	if err := writeNew(p.certPath(), certPEM(cert)); err != nil {
		return errors.Join(err, os.Remove(p.keyPath())) // Nobody has used it.
	}
	return nil
}

// load reads both files. The error is fs.ErrNotExist when one is absent.
func (p certPair) load() (crypto.Signer, *x509.Certificate, error) {
	b, err := readKey(p.dir, p.key, p.box)
	if err != nil {
		return nil, nil, err
	}
	private, err := parsePrivate(p.keyPath(), b)
	if err != nil {
		return nil, nil, err
	}
	der, err := readPEM(p.certPath(), "CERTIFICATE")
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("%s is damaged: %w", p.certPath(), err)
	}
	if err := belongs(cert, private); err != nil {
		return nil, nil, fmt.Errorf("%s and %s: %w", p.keyPath(), p.certPath(), err)
	}
	return private, cert, nil
}

// half tells of one file without the other.
func (p certPair) half() error {
	_, keyErr := os.Lstat(p.keyPath())
	_, certErr := os.Lstat(p.certPath())
	switch {
	case keyErr == nil && certErr != nil:
		return fmt.Errorf("%s is there but %s is missing: restore both from a backup; no new key is made over an old one", p.keyPath(), p.certPath())
	case certErr == nil && keyErr != nil:
		return fmt.Errorf("%s is there but %s is missing: restore both from a backup; no new key is made over an old one", p.certPath(), p.keyPath())
	}
	return nil
}

// openSecret loads a file with one secret in it, or writes what create returns
// when it is absent.
func openSecret(dir, name string, box *seal.Box, create func() ([]byte, error)) ([]byte, error) {
	b, err := readKey(dir, name, box)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	b, err = readKey(dir, name, box)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	if b, err = create(); err != nil {
		return nil, err
	}
	return b, writeNew(filepath.Join(dir, name), sealed(box, name, b))
}

// parsePrivate reads the PKCS #8 PEM in b, which came from path.
func parsePrivate(path string, b []byte) (crypto.Signer, error) {
	der, err := onePEM(path, b, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", path, err)
	}
	private, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: a key that cannot sign", path)
	}
	return private, nil
}

// privatePEM is what [parsePrivate] reads.
func privatePEM(private crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// certPEM is the file of a certificate.
func certPEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// readPEM reads the only PEM block of a file.
func readPEM(path, kind string) ([]byte, error) {
	b, _, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	return onePEM(path, b, kind)
}

// onePEM returns the only PEM block in b.
func onePEM(path string, b []byte, kind string) ([]byte, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != kind || len(rest) != 0 {
		return nil, fmt.Errorf("%s is damaged: want one PEM block %q and nothing else", path, kind)
	}
	return block.Bytes, nil
}

// readSecret reads a file and refuses one that others may read or write.
func readSecret(path string) ([]byte, error) {
	b, info, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	if err := private(path, info); err != nil {
		return nil, err
	}
	return b, nil
}

// readBounded reads a regular file of at most maxFile bytes.
func readBounded(path string) ([]byte, fs.FileInfo, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(b) > maxFile {
		return nil, nil, fmt.Errorf("%s is damaged: larger than %d bytes", path, maxFile)
	}
	return b, info, nil
}

// writeNew writes a file that is not there yet: whole or not at all, and safe
// on disk when it returns.
func writeNew(path string, b []byte) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: %w", path, fs.ErrExist)
	}
	return writeFile(path, b)
}

// ReadFile reads a file that [WriteFile] writes, of at most 64 KiB, also while it is written.
func ReadFile(path string) ([]byte, error) {
	b, _, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	return b, nil
}

// WriteFile puts b in place of path: whole or not at all, for its owner alone, and safe on
// disk when it returns.
func WriteFile(path string, b []byte) error {
	if err := writeFile(path, b); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	return nil
}

// writeFile puts b in place of path: whole or not at all, mode 0600, and safe
// on disk when it returns.
func writeFile(path string, b []byte) (err error) {
	dir := filepath.Dir(path)
	temp := filepath.Join(dir, "."+filepath.Base(path)+"."+rand.Text()[:8])
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temp)
		}
	}()
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err = replace(temp, path); err != nil {
		return err
	}
	return syncDir(dir)
}
