package tunnel

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"borealis/store"
	"borealis/tunnel/wg/nstest"
)

// TestTunnelsEndOnAFullDisk: on a disk that is really full tunnels, and their shells with
// them, end after the time without the trail, connecting is refused, and with space again
// everything is put on record that happened, and goes on by itself.
func TestTunnelsEndOnAFullDisk(t *testing.T) {
	if !nstest.Run(t) {
		return
	}
	disk, err := os.MkdirTemp("", "borealis-disk-") //nolint:usetesting // t.TempDir is to be on it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(disk) })
	if err := unix.Mount("borealis-test", disk, "tmpfs", 0, "size=2m,mode=0700"); err != nil {
		t.Skip("this test needs to mount a disk: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	t.Setenv("TMPDIR", disk) // where the rig is
	r := newRig(t, func(c *Config) { c.unrecorded = 50 * time.Millisecond })
	h := r.join(t)
	id := r.up(t, h, holder("nora")).TunnelID

	filler := filepath.Join(disk, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if f.Close(); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	r.until(t, func() bool { // the log has room for some more records
		r.record(store.Record{Kind: "firewall_repaired"})
		return r.Recording() != nil
	})
	if err := r.Recording(); !errors.Is(err, store.ErrFull) {
		t.Errorf("the trail cannot be written: %v", err)
	}
	r.until(t, func() bool { return len(r.Tunnels()) == 0 })
	if n := r.peers(t); n != 0 {
		t.Errorf("%d peers", n)
	}
	_, err = r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{})
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, store.ErrFull) {
		t.Errorf("connect: %v", err)
	}
	if r.store.Err() != nil {
		t.Errorf("the store has failed: %v", r.store.Err())
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	r.until(t, func() bool { return r.Recording() == nil })
	if got := r.ending(t, id); got != InternalError {
		t.Errorf("ended as %s", got)
	}
	all := r.records(t, store.RecordQuery{TunnelID: id})
	if l := all[len(all)-1]; l.Kind != "tunnel_down" || l.Detail != "the audit trail cannot be written" {
		t.Errorf("on record: %+v", l)
	}
	r.up(t, h, holder("nora"))
}
