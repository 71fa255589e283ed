package terminal

import (
	"context"
	"io"
	"time"
)

// most bytes that one Next returns.
const maxNext = 64 << 10

// Viewer reads a terminal's output from some offset on. Next is for one goroutine; the other methods
// may be called concurrently.
type Viewer struct {
	terminal *Terminal
	wake     chan struct{} // there may be something for Next
	start    int64
	lost     int64
	buf      []byte // of Next

	// Guarded by terminal.mu.
	sent   int64     // offset after the last byte that Next returned
	read   int64     // offset after the last byte that the viewer acknowledged
	pace   pace      // and its window
	held   time.Time // since when it holds up the output; zero when it does not
	parked bool      // it held it up for too long: its credit does not count until it has caught up
	closed bool
}

// View attaches a viewer that gets the output from an absolute offset on; a negative offset is the
// oldest that the ring holds. It must be closed. It counts for the flow of output until then.
func (t *Terminal) View(offset int64) *Viewer {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := &Viewer{
		terminal: t,
		wake:     make(chan struct{}, 1),
		start:    min(max(offset, t.ring.start), t.ring.end),
		pace:     newPace(t.ring.max, t.trip),
	}
	if offset >= 0 {
		v.lost = max(t.ring.start-offset, 0)
	}
	v.sent, v.read = v.start, v.start
	v.holdLocked(time.Now())
	t.viewers[v] = struct{}{}
	wake(t.moved)
	return v
}

// Start returns the absolute offset of the first byte that Next returns, and how many bytes between
// the offset asked for and that one the ring no longer had.
func (v *Viewer) Start() (offset, lost int64) { return v.start, v.lost }

// Next waits for output and returns what there is of it within the viewer's window, at most 64 KiB,
// with the absolute offset of its first byte. The bytes are valid until the next call. At the end of
// the shell's output it returns io.EOF. ErrOverrun says that the viewer was not waited for and the
// ring has passed it: it shall be closed, and replaced by one that begins where it stopped.
func (v *Viewer) Next(ctx context.Context) (data []byte, offset int64, err error) {
	if v.buf == nil {
		v.buf = make([]byte, maxNext)
	}
	for {
		n, offset, err := v.take()
		if n > 0 || err != nil {
			return v.buf[:n], offset, err
		}
		select {
		case <-v.wake:
		case <-ctx.Done():
			return nil, offset, ctx.Err()
		}
	}
}

// take copies what may be delivered.
func (v *Viewer) take() (n int, offset int64, err error) {
	t := v.terminal
	t.mu.Lock()
	defer t.mu.Unlock()
	offset = v.sent
	switch {
	case v.closed:
		return 0, offset, ErrClosed
	case v.sent < t.ring.start:
		return 0, offset, ErrOverrun
	case v.sent == t.ring.end && t.ended:
		return 0, offset, io.EOF
	}
	if ready := min(t.ring.end, v.read+v.pace.window) - v.sent; ready > 0 {
		n = t.ring.read(v.buf[:min(ready, maxNext)], v.sent)
		quiet := v.sent == v.read
		v.sent += int64(n)
		v.pace.delivered(v.sent, int64(n), quiet, time.Now())
	}
	return n, offset, nil
}

// Ack says that the viewer has read everything before the absolute offset, which lets more follow.
// An offset that Next has not reached counts as the one reached.
func (v *Viewer) Ack(offset int64) {
	t := v.terminal
	t.mu.Lock()
	defer t.mu.Unlock()
	offset = min(offset, v.sent)
	if v.closed || offset <= v.read {
		return
	}
	now := time.Now()
	v.pace.acked(offset, offset-v.read, t.ring.end-v.read, now)
	v.read = offset
	v.held = time.Time{}
	v.holdLocked(now)
	if v.parked && t.ring.end-v.read < v.pace.window {
		v.parked = false
	}
	wake(v.wake)
	wake(t.moved)
}

// holdLocked notes since when the viewer holds up the output, and whether that begins now. It does
// once half of its window is unread: the credit that the device knows of is up to a quarter behind.
func (v *Viewer) holdLocked(now time.Time) (begins bool) {
	if !v.held.IsZero() || v.terminal.ring.end-v.read < v.pace.window/2 {
		return false
	}
	v.held = now
	return true
}

// Window returns how many bytes the viewer may have unread now.
func (v *Viewer) Window() int64 {
	v.terminal.mu.Lock()
	defer v.terminal.mu.Unlock()
	return v.pace.window
}

// Close detaches the viewer; a Next under way returns ErrClosed. Closing again does nothing.
func (v *Viewer) Close() {
	t := v.terminal
	t.mu.Lock()
	v.closed = true
	delete(t.viewers, v)
	t.mu.Unlock()
	wake(v.wake)
	wake(t.moved)
}

// wake leaves a token in a channel that holds one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
