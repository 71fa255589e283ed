package limits

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"borealis/tunnel/wg/nstest"
)

// TestStopOnAFullDisk: it must work when nothing else does.
func TestStopOnAFullDisk(t *testing.T) {
	if !nstest.Run(t) {
		return
	}
	dir := t.TempDir()
	if err := unix.Mount("borealis-test", dir, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		t.Skip("this test needs to mount a disk: ", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 128<<10), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	p := Load(filepath.Join(dir, "policy.json"))
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, stopped := p.Stopped(); !stopped {
		t.Error("it is not stopped")
	}
}

// TestWhatCannotBeLookedAtIsStopped, for nobody knows.
func TestWhatCannotBeLookedAtIsStopped(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if at, stopped := Load(filepath.Join(file, "policy.json")).Stopped(); !stopped || !at.IsZero() {
		t.Errorf("below a file: %v, %v", at, stopped)
	}
}
