//go:build unix

package seal

import (
	"fmt"
	"io/fs"
	"os"
)

// private refuses a key that others than its owner may use.
func private(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode != 0o600 && mode != 0o400 {
		return fmt.Errorf("%s has mode %04o, not 0600 or 0400: look at who could use it, then chmod 600", path, mode)
	}
	return nil
}

// syncDir makes a new file in dir last through a power cut.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
