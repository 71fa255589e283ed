//go:build unix

package keys_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"borealis/tunnel/keys"
)

func TestKeyFilesAreForTheirOwnerAlone(t *testing.T) {
	t.Parallel()
	dir, _ := newEngine(t)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %04o, want %04o", path, got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"identity.key", "token.key", "audit.key", "web.key", "VPN_Server/wireguard.key"} {
		path := filepath.Join(dir, name)
		for _, mode := range []fs.FileMode{0o640, 0o604, 0o620} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			if _, err := keys.OpenEngine(dir, nil, box); err == nil || !strings.Contains(err.Error(), "can be used by others") {
				t.Errorf("%s with mode %04o: %v, want a refusal", name, mode, err)
			}
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPlainFilesThatOthersMayReadAreRefused(t *testing.T) {
	t.Parallel()
	dir, _ := newEngine(t)
	plain(t, dir)
	if err := os.Chmod(filepath.Join(dir, "token.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	if _, err := keys.OpenEngine(dir, nil, box); err == nil || !strings.Contains(err.Error(), "can be used by others") {
		t.Errorf("a file that others may read: %v", err)
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("files changed (-before +after):\n%s", diff)
	}
}

func TestSealedFilesKeepTheirModes(t *testing.T) {
	t.Parallel()
	dir, _ := newEngine(t)
	plain(t, dir)
	if _, err := keys.OpenEngine(dir, nil, box); err != nil {
		t.Fatal(err)
	}
	for _, name := range keyFiles {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != fs.FileMode(0o600) {
			t.Errorf("%s has mode %04o", name, got)
		}
	}
}
