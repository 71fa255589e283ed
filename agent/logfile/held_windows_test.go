package logfile

import (
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// TestHeldOpen by a program that lets others read and write, but not rename: the log is emptied.
func TestHeldOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	f := opened(t, Config{Path: path, MaxSize: 4}, time.Now)
	write(t, f, "one\n")
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		t.Fatal(err)
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, nil, windows.OPEN_EXISTING, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	write(t, f, "two\n")
	has(t, path, "two\n")
	if err := windows.CloseHandle(h); err != nil {
		t.Fatal(err)
	}
	write(t, f, "three\n")
	has(t, path, "three\n", "two\n")
}
