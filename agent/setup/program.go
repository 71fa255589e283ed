package setup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// program puts the program in its place. The one that was there is moved aside, which
// Windows allows also while it runs; tidy removes it.
func (i *installer) program(context.Context) (string, func(context.Context) error, error) {
	if !i.differs {
		return present, nil, nil
	}
	fresh := i.Program + ".installing"
	sum, err := copyFile(fresh, i.Source)
	if err != nil {
		os.Remove(fresh)
		return "", nil, explain(err)
	}
	aside := i.Program + ".replaced-" + i.stamp
	err = os.Rename(i.Program, aside)
	was := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		os.Remove(fresh)
		return "", nil, explain(fmt.Errorf("move the old program aside: %w", err))
	}
	undo := func(context.Context) error {
		err := removeIfThere(i.Program)
		if was {
			err = errors.Join(err, os.Rename(aside, i.Program))
		}
		return err
	}
	if err := os.Rename(fresh, i.Program); err != nil {
		os.Remove(fresh)
		return "", undo, explain(fmt.Errorf("put the program in its place: %w", err))
	}
	if was {
		i.aside = aside
	}
	return fmt.Sprintf("copied to %s, SHA-256 %x", i.Program, sum), undo, nil
}

// tidy removes the program that was moved aside. It never fails: Windows removes what is
// in use when it starts the next time.
func (i *installer) tidy(context.Context) (string, func(context.Context) error, error) {
	if i.superseded != "" {
		_ = os.Remove(i.superseded) // nobody reads it
	}
	if i.aside == "" {
		return idle, nil, nil
	}
	if err := removeIfThere(i.aside); err == nil {
		return "the old program is removed", nil, nil
	}
	if err := removeLater(i.aside); err != nil {
		return fmt.Sprintf("the old program, %s, could not be removed: %v", i.aside, err), nil, nil
	}
	return fmt.Sprintf("the old program is in use: Windows removes %s when it starts the next time", i.aside), nil, nil
}

// copyFile makes a program with the content of another, reads it again and compares. It
// returns its SHA-256.
func copyFile(to, from string) (sum [sha256.Size]byte, err error) {
	source, err := os.Open(from)
	if err != nil {
		return sum, fmt.Errorf("read the program: %w", err)
	}
	defer source.Close()
	file, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755) //nolint:gosec // A program is for everybody.
	if err != nil {
		return sum, fmt.Errorf("copy the program: %w", err)
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, hash), source)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return sum, fmt.Errorf("copy the program: %w", err)
	}
	hash.Sum(sum[:0])
	written, err := hashOf(to)
	if err == nil && written != sum {
		err = errors.New("what was written is not what was read: the disk or a virus scanner changed it")
	}
	if err != nil {
		return sum, fmt.Errorf("check the copied program: %w", err)
	}
	return sum, nil
}

// same reports whether two files have the same content. One that is not there is not the
// same as any.
func same(a, b string) (bool, error) {
	one, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	two, err := os.Stat(b)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if os.SameFile(one, two) {
		return true, nil
	}
	if one.Size() != two.Size() {
		return false, nil
	}
	first, err := hashOf(a)
	if err != nil {
		return false, err
	}
	second, err := hashOf(b)
	return first == second, err
}

func hashOf(path string) (sum [sha256.Size]byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return sum, err
	}
	hash.Sum(sum[:0])
	return sum, nil
}

// removeIfThere removes a file.
func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// nearest returns the deepest folder on the way to a path that is there.
func nearest(path string) string {
	for {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return path
		}
		up := filepath.Dir(path)
		if up == path {
			return path
		}
		path = up
	}
}
