package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// prepareFile makes the directory and an empty file that only we can read, both
// when missing, and returns the absolute path. It never opens a database that is
// there already: closing it again would drop SQLite's locks of this process.
func prepareFile(path string) (string, error) {
	if path == "" {
		return "", errors.New("the path is empty")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make its directory: %w", err)
	}
	fresh, err := os.CreateTemp(dir, ".borealis-*") // mode 0600
	if err != nil {
		return "", fmt.Errorf("its directory is not writable: %w", err)
	}
	defer os.Remove(fresh.Name())
	if err := fresh.Close(); err != nil {
		return "", err
	}
	if err := os.Link(fresh.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make the file: %w", err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := ownerOnly(path + suffix); err != nil {
			return "", err
		}
	}
	return path, nil
}

// ownerOnly takes a file's rights from everybody but its owner.
func ownerOnly(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("it should be a file of the user that runs this program: %w", err)
	}
	return nil
}
