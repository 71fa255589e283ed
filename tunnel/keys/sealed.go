package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"borealis/tunnel/keys/seal"
)

// purposeOf is what the content of a key file is sealed for.
func purposeOf(name string) string { return "file:" + name }

// sealed is the content of the key file with that name. Without a box it is plain.
func sealed(box *seal.Box, name string, plain []byte) []byte {
	if box == nil {
		return plain
	}
	return box.Seal(purposeOf(name), plain)
}

// readKey reads a key file, which may still be plain as an earlier version left it.
// The error is fs.ErrNotExist when it is absent, and says what to do when the file
// cannot be opened with the box.
func readKey(dir, name string, box *seal.Box) ([]byte, error) {
	path := filepath.Join(dir, name)
	b, err := readSecret(path)
	if err != nil || !seal.IsSealed(b) {
		return b, err
	}
	if box == nil {
		return nil, fmt.Errorf("%s is sealed and no seal key was given: start with the seal key that it was sealed with; nothing was changed", path)
	}
	plain, err := box.Open(purposeOf(name), b)
	switch {
	case errors.Is(err, seal.ErrWrongKey):
		return nil, fmt.Errorf("%s: %w than %s, which was given: start with the seal key that it was sealed with, "+
			"or restore both from one backup; no new key is made over an old one", path, err, box.ID())
	case err != nil:
		return nil, fmt.Errorf("%s: %w: restore it from a backup; no new key is made over an old one", path, err)
	}
	return plain, nil
}

// sealInPlace seals a key file that an earlier version left plain. The file is
// replaced whole or not at all; one that is sealed or absent is left alone.
func sealInPlace(dir, name string, box *seal.Box) error {
	path := filepath.Join(dir, name)
	plain, err := readSecret(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && seal.IsSealed(plain) {
		return nil
	}
	if err != nil {
		return err
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if plain, err = readSecret(path); err != nil || seal.IsSealed(plain) { // Another process was faster.
		return err
	}
	if err := writeFile(path, sealed(box, name, plain)); err != nil {
		return fmt.Errorf("seal %s: %w", path, err)
	}
	return nil
}

// exists reports whether something is at path.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
