package shell

import (
	"math"
	"sync"
	"time"
)

const (
	packet   = 32 << 10             // most bytes of one SSH packet, and of one read
	backlog  = 2 << 10              // so many bytes at once are a flood rather than a key's echo
	coalesce = 2 * time.Millisecond // longest wait for a flood to fill a packet
)

// output holds what a program wrote until it is sent, and how much more the program may write. One
// goroutine fills it (room, add, end), one empties it (next); the other methods are for anybody.
type output struct {
	filled chan struct{} // something was added, or the end
	freed  chan struct{} // there may be room again

	mu      sync.Mutex
	pending []byte
	taken   uint64 // bytes added so far
	limit   uint64 // bytes that may be added
	ended   bool   // nothing more will be added
	dropped bool   // nobody wants it any more
}

// newOutput returns an output that takes any number of bytes.
func newOutput() *output {
	return &output{
		filled:  make(chan struct{}, 1),
		freed:   make(chan struct{}, 1),
		pending: make([]byte, 0, packet),
		limit:   math.MaxUint64,
	}
}

// setLimit says how many bytes the program may have written, counted from its start.
func (o *output) setLimit(limit uint64) {
	o.mu.Lock()
	o.limit = limit
	o.mu.Unlock()
	wake(o.freed)
}

// drop throws away what is pending and all that comes, so that whoever fills it never waits.
func (o *output) drop() {
	o.mu.Lock()
	o.dropped = true
	o.pending = o.pending[:0]
	o.mu.Unlock()
	wake(o.freed)
	wake(o.filled)
}

// room waits until there is credit and space, and returns how many bytes may be added.
func (o *output) room() int {
	for {
		o.mu.Lock()
		n := packet
		if !o.dropped {
			n -= len(o.pending)
			if o.limit <= o.taken {
				n = 0
			} else if left := o.limit - o.taken; left < uint64(n) { //nolint:gosec // n is a small positive number
				n = int(left) //nolint:gosec // less than n
			}
		}
		o.mu.Unlock()
		if n > 0 {
			return n
		}
		<-o.freed
	}
}

// add takes bytes that there was room for.
func (o *output) add(p []byte) {
	o.mu.Lock()
	o.taken += uint64(len(p))
	if !o.dropped {
		o.pending = append(o.pending, p...)
	}
	o.mu.Unlock()
	wake(o.filled)
}

// end says that nothing more will be added.
func (o *output) end() {
	o.mu.Lock()
	o.ended = true
	o.mu.Unlock()
	wake(o.filled)
}

// next waits for bytes and returns all that are there, or nothing at the end. The caller gives back
// what it got last, to be filled again. After a backlog it gives a flood up to coalesce to fill a
// packet; a key's echo, or the first bytes after a pause, never wait.
func (o *output) next(last []byte) []byte {
	asked, flood := time.Now(), len(last) >= backlog
	for {
		o.mu.Lock()
		n, over := len(o.pending), o.ended || o.dropped
		if n > 0 && (!flood || over || n == packet) {
			chunk := o.takeLocked(last)
			o.mu.Unlock()
			wake(o.freed)
			return chunk
		}
		o.mu.Unlock()
		if n == 0 && over {
			return nil
		}
		if n == 0 {
			<-o.filled
			flood = flood && time.Since(asked) < coalesce
			continue
		}
		o.fill()
		flood = false
	}
}

// fill waits until a packet is full, the end, or coalesce is over.
func (o *output) fill() {
	late := time.NewTimer(coalesce)
	defer late.Stop()
	for {
		select {
		case <-late.C:
			return
		case <-o.filled:
		}
		o.mu.Lock()
		enough := len(o.pending) == packet || o.ended || o.dropped || o.limit <= o.taken
		o.mu.Unlock()
		if enough {
			return
		}
	}
}

// takeLocked swaps the pending bytes for an empty buffer.
func (o *output) takeLocked(last []byte) []byte {
	chunk := o.pending
	o.pending = last[:0]
	return chunk
}

// wake leaves a token in a channel that holds one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
