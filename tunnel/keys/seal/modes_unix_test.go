//go:build unix

package seal_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"borealis/tunnel/keys/seal"
)

func TestKeyFileModes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "seal.key")
	if _, err := seal.Create(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("made with mode %v, %v", info.Mode(), err)
	}
	for mode, ok := range map[fs.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o660: false, 0o444: false, 0o700: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.Load(path); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("mode %04o: %v, want it to pass: %v", mode, err, ok)
		}
	}
}
