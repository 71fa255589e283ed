package terminal

import (
	"math"
	"time"

	"golang.org/x/crypto/ssh"

	"borealis/agent/wire"
)

const (
	unlimited = uint64(math.MaxUint64)
	stall     = 3 * time.Second        // a viewer that holds up the output for longer is not waited for
	settle    = 200 * time.Millisecond // a small change of the credit waits this long for company
)

// govern tells the device how much output it may send, whenever that has changed enough. While
// viewers are attached it is as much as the slowest of them that makes progress has a window for.
// With none the output goes on into the ring, so that a command never hangs for want of somebody
// looking at it. Socket buffers and SSH's own window would hold megabytes between a program and the
// viewer, and Ctrl-C would wait for them.
func (t *Terminal) govern() {
	told := unlimited
	var differs time.Time // since when the credit is another than told
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		limit, step, again := t.credit(now)
		if limit == told {
			differs = time.Time{}
		} else if differs.IsZero() {
			differs = now
		}
		far := limit == unlimited || told == unlimited || max(limit, told)-min(limit, told) >= step
		switch {
		case limit == told:
		case far || now.Sub(differs) >= settle:
			if _, err := t.channel.SendRequest(wire.FlowRequest, false, ssh.Marshal(struct{ Limit uint64 }{limit})); err != nil {
				return // the connection is gone, or the shell has ended
			}
			told, differs = limit, time.Time{}
		default:
			again = min(again, settle-now.Sub(differs))
		}
		timer.Reset(again)
		select {
		case <-t.moved:
		case <-timer.C:
		case <-t.done:
			return
		}
	}
}

// credit returns up to which offset the viewers can take output, how large a change of it is worth
// telling, and when to look again at the latest.
func (t *Terminal) credit(now time.Time) (limit, step uint64, again time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	limit, step, again = unlimited, leastWindow/4, time.Hour
	for v := range t.viewers {
		if !v.parked && !v.held.IsZero() {
			left := stall - now.Sub(v.held)
			if v.parked = left <= 0; !v.parked {
				again = min(again, left)
			}
		}
		if v.parked {
			continue
		}
		if l := uint64(v.read + v.pace.window); l < limit { //nolint:gosec // offsets are not negative
			limit, step = l, uint64(v.pace.window/4) //nolint:gosec // nor are windows
		}
	}
	return limit, step, again
}
