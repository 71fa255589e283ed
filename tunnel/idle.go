package tunnel

import (
	"sync"
	"time"
)

// An idleTimer calls a function once after a time without activity.
// It has no goroutine of its own and is safe for concurrent use.
type idleTimer struct {
	limit time.Duration
	timer *time.Timer

	mu       sync.Mutex
	deadline time.Time
}

// newIdleTimer starts the time. expired must not block.
func newIdleTimer(limit time.Duration, expired func()) *idleTimer {
	return &idleTimer{limit: limit, timer: time.AfterFunc(limit, expired), deadline: time.Now().Add(limit)}
}

// touch starts the time again, unless it is over.
func (t *idleTimer) touch() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer.Stop() { // else it has expired or was stopped, and stays so
		t.timer.Reset(t.limit)
		t.deadline = time.Now().Add(t.limit)
	}
}

// remaining is how long it is until the end, never below zero.
func (t *idleTimer) remaining() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, time.Until(t.deadline))
}

func (t *idleTimer) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer.Stop()
}
