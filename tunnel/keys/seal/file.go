package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/crypto/argon2"
)

// keySize is the length of a key in bytes.
const keySize = 32

// maxKeyFile bounds what is read of a key file; a real one has 45 bytes.
const maxKeyFile = 1 << 10

// Costs of making a key from a passphrase: the second recommended choice of RFC
// 9106, section 4, for where 2 GiB are too much, with half its lanes.
const (
	passTime    = 3
	passMemory  = 64 << 10 // KiB
	passThreads = 2
)

// Load reads the key in a file that [Create] made, or that holds 32 bytes in
// base64. Nobody but its owner may be able to read it: mode 0600 or 0400. The
// error is fs.ErrNotExist when there is no such file.
func Load(path string) (*Box, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load seal key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("load seal key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("load seal key: %s is not a regular file", path)
	}
	if err := private(path, info); err != nil {
		return nil, fmt.Errorf("load seal key: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("load seal key: %w", err)
	}
	box, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("load seal key: %s is damaged: %w; restore it from a backup", path, err)
	}
	return box, nil
}

// Parse reads a key as it stands in a key file, for callers that get it in another way.
func Parse(text []byte) (*Box, error) {
	key, err := base64.StdEncoding.Strict().DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("want %d bytes in base64", keySize)
	}
	return New([keySize]byte(key)), nil
}

// Create makes a random key and writes it to a file that is not there yet, for its
// owner alone. Without a copy of that file what is sealed under it is lost.
func Create(path string) (_ *Box, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create seal key: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(path) // Nothing is sealed under it yet.
		}
	}()
	var key [keySize]byte
	rand.Read(key[:]) // Never fails.
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key[:]) + "\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("create seal key: %w", err)
	}
	return New(key), nil
}

// FromPassphrase returns the box of the key that a passphrase and a salt make by
// Argon2id. It takes 64 MiB and a fraction of a second.
func FromPassphrase(passphrase string, salt []byte) *Box {
	return New([keySize]byte(argon2.IDKey([]byte(passphrase), salt, passTime, passMemory, passThreads, keySize)))
}
