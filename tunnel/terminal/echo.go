package terminal

import (
	"sync/atomic"
	"time"
)

// longestEcho is the longest answer to a key that says something about the way to the device: what
// comes later is what a program had to say, or a key that has no answer, as in a password.
const longestEcho = 10 * time.Second

// An echo measures how long the device takes to answer a key: from a key that comes in to the first
// output after it. It measures one at a time, whatever is typed meanwhile.
type echo struct {
	tell  func(took time.Duration) // nil: nothing is measured
	since time.Time
	asked atomic.Int64 // when the key came in, in nanoseconds after since; 0 when none waits for its answer
}

// ask notes that a key came in.
func (e *echo) ask() {
	if e.tell == nil {
		return
	}
	now := max(int64(time.Since(e.since)), 1)
	if at := e.asked.Load(); at == 0 || now-at > int64(longestEcho) {
		e.asked.Store(now)
	}
}

// answer notes that the device has written something.
func (e *echo) answer() {
	if e.tell == nil || e.asked.Load() == 0 {
		return
	}
	at := e.asked.Swap(0)
	if took := time.Since(e.since) - time.Duration(at); at != 0 && took <= longestEcho {
		e.tell(took)
	}
}
