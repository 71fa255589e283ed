package handlers

import (
	"sync"
	"time"
)

// File descriptors that agents leave to operators: for their pages, their terminals, and what the
// engine itself opens. Of a small limit it is the half.
const reservedDescriptors = 512

const countEvery = time.Second // between two counts of what this process has open

// descriptors knows how many file descriptors are left. The zero value knows no limit. It is safe
// for concurrent use.
type descriptors struct {
	limit int                // 0: unknown
	count func() (int, bool) // that are open in this process

	mu      sync.Mutex
	counted int       // at the last count
	door    int64     // connections through the door then
	at      time.Time // of the last count
}

// watch begins to look at those of this process.
func (d *descriptors) watch() { d.limit, d.count = descriptorLimit(), openDescriptors }

// reserve is how many are for operators.
func (d *descriptors) reserve() int { return min(reservedDescriptors, d.limit/2) }

// left is how many there are, when so many connections came through the door, each of which has
// one. What else is open is counted seldom. It reports false when there is no limit, or when nobody
// knows.
func (d *descriptors) left(connections int64) (int, bool) {
	if d.limit <= 0 {
		return 0, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); now.Sub(d.at) >= countEvery {
		counted, ok := d.count()
		if !ok {
			return 0, false
		}
		d.counted, d.door, d.at = counted, connections, now
	}
	return d.limit - d.counted - int(connections-d.door), true
}
