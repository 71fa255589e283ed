//go:build !windows

package setup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestInstallElsewhere(t *testing.T) {
	t.Parallel()
	_, err := DefaultPlace("")
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "borealis-agent enrol") {
		t.Errorf("the place: %v", err)
	}
	dir := t.TempDir()
	place := Place{Program: filepath.Join(dir, "p", "agent"), Data: filepath.Join(dir, "d")}
	if _, err := Install(t.Context(), Config{Place: place}); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "borealis-agent run") {
		t.Errorf("installing: %v", err)
	}
	if _, err := Uninstall(t.Context(), UninstallConfig{Place: place}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("uninstalling: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	i := subject(t, "program")
	_, err := copyFile("/dev/full", i.Source)
	err = explain(err)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "the disk is full") || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("it says %v", err)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		syscall.EROFS: "read-only", syscall.EACCES: "look who may write there", errors.New("other"): "other",
	} {
		wrapped := explain(&fs.PathError{Op: "open", Path: "/x", Err: err})
		if !errors.Is(wrapped, err) || !strings.Contains(wrapped.Error(), want) || !strings.Contains(wrapped.Error(), "/x") {
			t.Errorf("it says %v", wrapped)
		}
	}
	if err := explain(nil); err != nil {
		t.Errorf("nothing becomes %v", err)
	}
}
