package agent_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"borealis/agent"
	"borealis/agent/wire"
)

// disk mounts a small disk of its own.
func disk(t *testing.T, flags uintptr) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("borealis-test", dir, "tmpfs", flags, "size=64k,mode=0700"); err != nil {
		t.Skip("this test needs to mount a disk: ", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestEnrolOnABadDisk says what is wrong with it before the code is used up, and leaves
// nothing behind.
func TestEnrolOnABadDisk(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.enrol = func(http.ResponseWriter, *http.Request, wire.EnrolRequest) { t.Error("the engine is asked") }
	full := disk(t, 0)
	if err := os.WriteFile(filepath.Join(full, "filler"), make([]byte, 60<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	readOnly := disk(t, unix.MS_RDONLY)
	for data, says := range map[string]string{full: "the disk is full: free some space", readOnly: "cannot be written: use an elevated prompt, or root"} {
		for _, replace := range []bool{false, true} {
			_, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: data, Code: codeFor(e).String(), Replace: replace})
			if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "nothing was changed") {
				t.Errorf("%s: %v, want %q", data, err, says)
			}
		}
		left := snapshot(t, data)
		delete(left, filepath.Join(data, "filler"))
		if len(left) != 0 {
			t.Errorf("%s: left behind: %v", data, left)
		}
	}
}

// TestEnrolAgainOnAFullDisk keeps what the device is, and the code for another time.
func TestEnrolAgainOnAFullDisk(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	data := disk(t, 0)
	again := func() error {
		_, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: data, Code: codeFor(e).String()})
		return err
	}
	if err := again(); err != nil {
		t.Fatal(err)
	}
	yes := e.enrol
	e.enrol = func(http.ResponseWriter, *http.Request, wire.EnrolRequest) { t.Error("the engine is asked") }
	filler := filepath.Join(data, "filler")
	if err := os.WriteFile(filler, make([]byte, 64<<10), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	before := snapshot(t, data)
	if err := again(); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("on a full disk: %v", err)
	}
	if diff := cmp.Diff(before, snapshot(t, data)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
	e.enrol = yes
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := again(); err != nil {
		t.Errorf("with space again: %v", err)
	}
}
