package driver

import (
	"bytes"
	"debug/pe"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestKeep(t *testing.T) {
	t.Parallel()
	content := dll(pe.IMAGE_FILE_MACHINE_AMD64)
	data := t.TempDir()
	path := Path(data, "amd64")
	for range 2 { // The same again is no error, and is not even read.
		err := keep(path, "amd64", sum(content), int64(len(content)), iotest.OneByteReader(bytes.NewReader(content)), genuine)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{fileName, pinName}, files(t, data)); diff != "" {
			t.Error(diff)
		}
	}
	if d, err := find(data, "amd64", genuine); err != nil || d.SHA256 != sum(content) {
		t.Errorf("found %v, %v", d, err)
	}
}

func TestKeepRefuses(t *testing.T) {
	t.Parallel()
	good := dll(pe.IMAGE_FILE_MACHINE_AMD64)
	foreign := dll(pe.IMAGE_FILE_MACHINE_ARM64)
	size := int64(len(good))
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		hash   string
		size   int64
		from   io.Reader
		signed func(string) error
		want   error
	}{
		"another hash":      {sum(nil), size, bytes.NewReader(good), genuine, ErrDamaged},
		"more than said":    {sum(good), size - 1, bytes.NewReader(good), genuine, ErrDamaged},
		"less than said":    {sum(good), size + 1, bytes.NewReader(good), genuine, ErrDamaged},
		"another processor": {sum(foreign), size, bytes.NewReader(foreign), genuine, ErrArch},
		"forged":            {sum(good), size, bytes.NewReader(good), forged, ErrSignature},
		"cut off":           {sum(good), size, io.MultiReader(bytes.NewReader(good[:9]), iotest.ErrReader(broken)), genuine, broken},
		"huge":              {sum(good), MaxSize + 1, iotest.ErrReader(errors.New("read")), genuine, nil},
		"nothing":           {sum(nil), 0, bytes.NewReader(nil), genuine, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			err := keep(Path(data, "amd64"), "amd64", c.hash, c.size, c.from, c.signed)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if left := files(t, data); left != nil {
				t.Errorf("what was refused has left %v", left)
			}
		})
	}
}

// TestKeepLeavesAlone serves another driver than an administrator put there, or than was
// accepted before.
func TestKeepLeavesAlone(t *testing.T) {
	t.Parallel()
	theirs := []byte("an administrator's own")
	data := put(t, theirs)
	path := Path(data, "amd64")
	ours := dll(pe.IMAGE_FILE_MACHINE_AMD64)
	serve := func() error {
		return keep(path, "amd64", sum(ours), int64(len(ours)), bytes.NewReader(ours), genuine)
	}
	if err := serve(); !errors.Is(err, ErrKept) {
		t.Errorf("got %v, want %v", err, ErrKept)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, theirs) {
		t.Errorf("it is %q, %v now", got, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	replace(t, pinOf(path), []byte(sum(theirs)))
	if err := serve(); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v, want %v", err, ErrChanged)
	}
	if diff := cmp.Diff([]string{pinName}, files(t, data)); diff != "" {
		t.Error(diff)
	}
}

// TestKeepAfterCrash finds what a crash left in the middle of another time.
func TestKeepAfterCrash(t *testing.T) {
	t.Parallel()
	content := dll(pe.IMAGE_FILE_MACHINE_AMD64)
	data := put(t, nil)
	path := Path(data, "amd64")
	if err := os.Rename(path, pinOf(path)+".new"); err != nil {
		t.Fatal(err)
	}
	replace(t, pinOf(path), []byte(sum(content)))
	if err := keep(path, "amd64", sum(content), int64(len(content)), bytes.NewReader(content), genuine); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{fileName, pinName}, files(t, data)); diff != "" {
		t.Error(diff)
	}
}

// TestKeepIntoReadOnly cannot write, and leaves no half of it.
func TestKeepIntoReadOnly(t *testing.T) {
	t.Parallel()
	content := dll(pe.IMAGE_FILE_MACHINE_AMD64)
	data := t.TempDir()
	if err := os.WriteFile(data+"/Dependencies", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := keep(Path(data, "amd64"), "amd64", sum(content), int64(len(content)), bytes.NewReader(content), genuine)
	if err == nil {
		t.Error("stored it in a file")
	}
}
