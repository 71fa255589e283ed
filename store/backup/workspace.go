package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"borealis/store"
)

const (
	treeName    = "tree"    // of a workspace: a data root that is being made
	placingName = "placing" // of a workspace: from here on the tree may be somebody's data
	restoring   = ".restoring-"
)

// A workspace is a folder for what is not finished. Its maker holds a lock on it, so that
// those of killed programs can be told, and removed.
type workspace struct {
	dir  string
	lock *os.File
}

// newWorkspace removes what killed programs left in a folder and makes a workspace there,
// with a name of that prefix.
func newWorkspace(parent, prefix string) (*workspace, error) {
	if err := clean(parent, prefix); err != nil {
		return nil, err
	}
	for {
		dir, err := os.MkdirTemp(parent, prefix) // mode 0700
		if err != nil {
			return nil, full(err)
		}
		w, err := openWorkspace(dir)
		if w != nil || err != nil {
			return w, err
		}
	}
}

// openWorkspace takes a workspace; nil when another program has it, or has removed it.
func openWorkspace(dir string) (*workspace, error) {
	lock, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	mine, err := Lock(lock)
	if _, gone := os.Stat(dir); err == nil && mine && gone == nil {
		return &workspace{dir, lock}, nil
	}
	lock.Close()
	return nil, err
}

// clean removes the workspaces that nobody holds.
func clean(parent, prefix string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		if w, err := openWorkspace(filepath.Join(parent, e.Name())); err == nil && w != nil { // else somebody else's
			w.close()
		}
	}
	return nil
}

// close removes the workspace, but for a tree that may be somebody's data.
func (w *workspace) close() {
	defer w.lock.Close()
	if _, err := os.Stat(filepath.Join(w.dir, placingName)); err == nil {
		root, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(w.dir), "."), restoring)
		left := unused(fmt.Sprintf("%s.left-by-restore-%s", filepath.Join(filepath.Dir(w.dir), root), stamp(time.Now())))
		if err := os.Rename(filepath.Join(w.dir, treeName), left); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
	os.RemoveAll(w.dir)
}

// stamp is a time in names of files.
func stamp(t time.Time) string { return t.UTC().Format("20060102T150405Z") }

// unused is a path at which nothing is: the one given, or with a number behind it.
func unused(path string) string {
	for n, free := 2, path; ; n++ {
		if _, err := os.Lstat(free); err != nil {
			return free
		}
		free = fmt.Sprintf("%s-%d", path, n)
	}
}

// place gives a finished file its name, and replaces nothing.
func place(from, to string) error {
	err := os.Link(from, to)
	if err != nil && !errors.Is(err, fs.ErrExist) { // a file system without links
		if _, there := os.Lstat(to); errors.Is(there, fs.ErrNotExist) {
			err = os.Rename(from, to)
		}
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// syncDir makes sure that the names in a folder are on the disk.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// full makes an error that means a full disk one of the store's.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return err
}
