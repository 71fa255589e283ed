package backup

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestRestoreIntoAnEmptyFolder, also by way of a link to it.
func TestRestoreIntoAnEmptyFolder(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	made := r.backup(t, "one.age")
	empty, link := filepath.Join(r.dir, "empty"), filepath.Join(r.dir, "link")
	if err := errors.Join(os.Mkdir(empty, 0o700), os.Symlink(empty, link)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(empty, 1234, 1235); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Restore(t.Context(), r.restoring(made.Path, link))
	if err != nil || got.Root != empty || got.Aside != "" {
		t.Fatalf("%+v, %v", got, err)
	}
	owned(t, empty)
}

// owned checks that everything in a folder belongs to the owner that it was given by root.
func owned(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if s, ok := info.Sys().(*syscall.Stat_t); !ok || s.Uid != 1234 || s.Gid != 1235 {
			t.Errorf("%s belongs to %+v", path, info.Sys())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
