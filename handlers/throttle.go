package handlers

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Penalties for wrong passwords and codes: each costs 5 seconds, nothing is refused
// until more than a burst of them is owed, and nobody ever owes more than 10 minutes.
const (
	penalty     = 5 * time.Second
	maxPenalty  = 10 * time.Minute
	sourceBurst = 2 * penalty
	nameBurst   = 11 * penalty // higher, so that a stranger cannot lock an operator out easily
	maxOwing    = 1 << 16      // sources that are remembered

	wrongCodesPerHour = 1000 // of all sources together
)

// A throttle counts failures by a key and says who has to wait.
// It is safe for concurrent use.
type throttle struct {
	burst time.Duration // what may be owed without being refused

	mu    sync.Mutex
	owing map[string]debt
}

// A debt is what a key owes until a moment. Once it is closed, the key is refused
// until then.
type debt struct {
	until  time.Time
	closed bool
}

func newThrottle(burst time.Duration) *throttle {
	return &throttle{burst: burst, owing: make(map[string]debt)}
}

// wait is how long a key is refused from now on; zero when it is not.
func (t *throttle) wait(key string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waitLocked(key, time.Now())
}

// charge counts a failure, or an attempt that may become one and is forgiven later.
// When the key is refused already, it returns how long that lasts instead.
func (t *throttle) charge(key string) (wait time.Duration) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if wait := t.waitLocked(key, now); wait > 0 {
		return wait
	}
	d, known := t.owing[key]
	if !known && len(t.owing) >= maxOwing {
		t.makeRoomLocked(now)
	}
	if d.until.Before(now) {
		d.until = now
	}
	d.until = d.until.Add(penalty)
	if most := now.Add(maxPenalty); d.until.After(most) {
		d.until = most
	}
	d.closed = d.until.Sub(now) > t.burst
	t.owing[key] = d
	return 0
}

// forgive takes back one charge.
func (t *throttle) forgive(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d, known := t.owing[key]
	if !known {
		return
	}
	d.until, d.closed = d.until.Add(-penalty), false
	if d.until.After(time.Now()) {
		t.owing[key] = d
	} else {
		delete(t.owing, key)
	}
}

func (t *throttle) waitLocked(key string, now time.Time) time.Duration {
	d, known := t.owing[key]
	if !known || !d.closed {
		return 0
	}
	if !d.until.After(now) {
		delete(t.owing, key)
		return 0
	}
	return d.until.Sub(now)
}

// makeRoomLocked forgets whoever owes nothing any more, and else some of the others;
// enough of them that it need not be done again soon.
func (t *throttle) makeRoomLocked(now time.Time) {
	for key, d := range t.owing {
		if !d.until.After(now) {
			delete(t.owing, key)
		}
	}
	for key := range t.owing {
		if len(t.owing) <= maxOwing/16*15 {
			return
		}
		delete(t.owing, key)
	}
}

// A budget bounds how often something may go wrong altogether.
type budget struct{ limiter *rate.Limiter }

func newBudget(perHour int) *budget {
	return &budget{rate.NewLimiter(rate.Every(time.Hour/time.Duration(perHour)), perHour)}
}

// spent reports whether nothing is left.
func (b *budget) spent() bool { return b.limiter.Tokens() < 1 }

// spend takes one.
func (b *budget) spend() { b.limiter.Allow() }
