package logfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"borealis/tunnel/wg/nstest"
)

// TestFullDisk loses whole lines and nothing else, and the log goes on when there is room.
func TestFullDisk(t *testing.T) {
	if !nstest.Run(t) {
		return
	}
	dir := t.TempDir()
	if err := unix.Mount("borealis-test", dir, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		t.Skip("this test needs to mount a disk: ", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	path := filepath.Join(dir, "log")
	f := opened(t, Config{Path: path}, time.Now)
	write(t, f, "before\n")
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 64<<10), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	line := []byte(strings.Repeat("x", 8000) + "\n") // Some of it has room in the page that is there.
	for range 2 {
		if n, err := f.Write(line); n != 0 || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("on a full disk: %d, %v", n, err)
		}
	}
	if got := content(t, path); got != "before\n" {
		t.Errorf("half a line is left: %d bytes", len(got))
	}
	write(t, f, "short\n")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	write(t, f, "after\n")
	has(t, path, "before\nshort\nafter\n")
}
