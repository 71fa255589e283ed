package factor

import (
	"context"
	"slices"
	"sync"
)

// turns lets one through at a time, of those who wait the one who came last: when more
// come than there is time for, whoever is let through has not waited long, and only those
// are turned away who would have been anyway. The zero value is ready.
type turns struct {
	mu      sync.Mutex
	taken   bool
	waiting []chan struct{} // the last to come at the end
}

// take waits for a turn, and reports whether there was one before ctx ended. The caller
// gives it back.
func (t *turns) take(ctx context.Context) bool {
	t.mu.Lock()
	if !t.taken && ctx.Err() == nil {
		t.taken = true
		t.mu.Unlock()
		return true
	}
	mine := make(chan struct{})
	t.waiting = append(t.waiting, mine)
	t.mu.Unlock()
	select {
	case <-mine:
		return true
	case <-ctx.Done():
	}
	t.mu.Lock()
	i := slices.Index(t.waiting, mine)
	if i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	t.mu.Unlock()
	if i < 0 { // it came at the same moment
		t.give()
	}
	return false
}

// give lets the next one through.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last := len(t.waiting) - 1; last >= 0 {
		close(t.waiting[last])
		t.waiting = t.waiting[:last]
		return
	}
	t.taken = false
}

// wanted reports whether somebody waits.
func (t *turns) wanted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting) > 0
}
