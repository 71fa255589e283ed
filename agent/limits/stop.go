package limits

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// stopFile is what an administrator of the device leaves beside the policy to stop all tunnels.
// That it is there is all that counts.
const stopFile = "panic.stop"

// ErrStopped is why no tunnel is allowed while all are stopped.
var ErrStopped = errors.New("somebody at the device stopped all tunnels (panic stop)")

// Stopped reports whether somebody at the device has stopped all tunnels, and when; the time is
// zero when it is not known. What cannot be looked at is taken for stopped.
func (p *Policy) Stopped() (at time.Time, stopped bool) {
	info, err := os.Lstat(p.stopPath())
	switch {
	case err == nil:
		return info.ModTime(), true
	case errors.Is(err, fs.ErrNotExist):
		return time.Time{}, false
	}
	return time.Time{}, true
}

// Stop stops all tunnels until [Policy.Release]. It needs no room on the disk but for a name. The
// error is fs.ErrNotExist when there is no folder for a policy.
func (p *Policy) Stop() error {
	f, err := os.OpenFile(p.stopPath(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// Release allows tunnels again. The error is fs.ErrNotExist when they were not stopped.
func (p *Policy) Release() error { return os.Remove(p.stopPath()) }

func (p *Policy) stopPath() string { return filepath.Join(filepath.Dir(p.path), stopFile) }
