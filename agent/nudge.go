package agent

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Times after a nudge.
const (
	nudgePeace   = 2 * time.Second // For a dial, and after a sign of life, before the next nudge counts.
	nudgeTimeout = 2 * time.Second // For the engine's sign of life.
)

// errNudged is why a connection is given up that a nudge found dead.
var errNudged = errors.New("the way to the engine has changed")

// Nudge says that the way to the engine may have changed: the device woke up, or its network
// is another one. Without a connection the agent dials at once; with one it asks the engine
// for a sign of life, and dials again when none comes soon. It does not wait, and may be
// called at any time and as often as one likes.
func (a *Agent) Nudge(reason string) {
	select {
	case a.nudged <- struct{}{}:
		a.log.Info("agent_nudged", "reason", reason)
	default: // One is enough.
	}
}

// dialNudged dials. The error is [errNudged] when somebody nudges after a while of no
// answer: a dial that began on another network seldom comes to an end on this one.
func (a *Agent) dialNudged(ctx context.Context) (*connection, error) {
	dialling, giveUp := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer giveUp(nil)
	watch.Go(func() {
		peace := time.NewTimer(nudgePeace)
		defer peace.Stop()
		select {
		case <-dialling.Done():
			return
		case <-peace.C:
		}
		select {
		case <-dialling.Done():
		case <-a.nudged:
			giveUp(errNudged)
		}
	})
	c, err := a.dial(dialling)
	if err != nil && errors.Is(context.Cause(dialling), errNudged) {
		return nil, errNudged
	}
	return c, err
}
