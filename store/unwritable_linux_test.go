package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// asNobody calls fn as a user who has no rights of its own, also when root runs
// the tests. Only this thread changes its user, and it ends with the call.
func asNobody(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		var err error
		defer func() { done <- err }()
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // never unlocked: the thread must not be used again
			if err = errors.Join(syscall.Setfsgid(65534), syscall.Setfsuid(65534)); err != nil {
				return
			}
		}
		fn()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestOpenUnwritable(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		file, dir os.FileMode // of an existing database and its directory
		own       bool        // does the file belong to whoever opens it?
		text      string
	}{
		{"no file, directory not writable", 0, 0o555, false, "directory is not writable"},
		{"file, directory not writable", 0o666, 0o555, false, "directory is not writable"},
		{"directory not searchable", 0o666, 0o600, false, "directory is not writable"},
		{"file not writable", 0o444, 0o777, false, "file of the user that runs this program"},
		{"file not readable", 0o600, 0o777, false, "file of the user that runs this program"},
		{"own file not writable", 0o400, 0o777, true, "readonly"},
		{"own file not readable", 0o200, 0o777, true, "file of the user that runs this program"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if os.Geteuid() != 0 && test.dir == 0o777 && !test.own {
				t.Skip("only root can make a file that belongs to somebody else")
			}
			path := unwritable(t, test.file, test.dir, test.own)
			asNobody(t, func() {
				s, err := Open(t.Context(), path)
				if err == nil {
					t.Error("it was opened", s.Close())
					return
				}
				if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), test.text) {
					t.Errorf("error %q does not say %q and %q", err, path, test.text)
				}
			})
		})
	}
}

// unwritable makes a directory with a database, but for file mode zero, and
// returns the database's path.
func unwritable(t *testing.T, file, dir os.FileMode, own bool) string {
	t.Helper()
	root := t.TempDir()
	path := filepath.Join(root, "data", "borealis.db")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if file != 0 {
		if err := openAt(t, path).Close(); err != nil {
			t.Fatal(err)
		}
		if own && os.Geteuid() == 0 {
			if err := os.Chown(path, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(path, file); err != nil {
			t.Fatal(err)
		}
	}
	for _, reachable := range []string{filepath.Dir(root), root} {
		if err := os.Chmod(reachable, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(path), dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Dir(path), 0o700) }) // so that it can be removed
	return path
}

func TestOpenWithoutPermissionIsRecognised(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.Chmod(filepath.Dir(root), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o555); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		if _, err := Open(t.Context(), filepath.Join(root, "new", "borealis.db")); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("error %v, want fs.ErrPermission", err)
		}
	})
}
