package agent

import (
	"context"
	"crypto/rand"
	"math/big"
	"time"
)

// Waits between attempts to reach the engine.
const (
	firstWait = time.Second      // The ceiling of the first wait.
	lastWait  = 30 * time.Second // The ceiling that doubling ends at.
	goodAfter = 30 * time.Second // A connection that lasted so long resets the ceiling.
)

// backoff chooses waits with full jitter: anything up to a ceiling that doubles.
// So agents that lost the engine at one moment do not come back at one moment.
type backoff struct {
	random  func(limit time.Duration) time.Duration // In [0, limit).
	ceiling time.Duration
}

// newBackoff returns a backoff that begins with a short wait.
func newBackoff() *backoff { return &backoff{random: jitter, ceiling: firstWait} }

// next returns the next wait and doubles the ceiling.
func (b *backoff) next() time.Duration {
	wait := b.random(b.ceiling)
	b.ceiling = min(2*b.ceiling, lastWait)
	return wait
}

// reset makes the next wait a short one.
func (b *backoff) reset() { b.ceiling = firstWait }

// jitter returns a random duration below limit.
func jitter(limit time.Duration) time.Duration {
	n, err := rand.Int(rand.Reader, big.NewInt(int64(limit)))
	if err != nil { // The system's random source never fails.
		return limit
	}
	return time.Duration(n.Int64())
}

// retry calls try again and again until ctx ends, waiting in between. A try that
// reports true makes the next wait a short one. What comes out of nudged ends a wait, but
// no try begins sooner than [firstWait] after the one before for it.
func retry(ctx context.Context, b *backoff, nudged <-chan struct{}, try func(context.Context) bool) {
	for ctx.Err() == nil {
		began := time.Now()
		if try(ctx) {
			b.reset()
		}
		select {
		case <-ctx.Done():
		case <-time.After(b.next()):
		case <-nudged:
			b.reset()
			select {
			case <-ctx.Done():
			case <-time.After(firstWait - time.Since(began)):
			}
		}
	}
}
