package agent

import (
	"context"
	"fmt"
	"time"

	"borealis/agent/wire"
)

// Limits of the heartbeat.
const (
	pongTimeout = 10 * time.Second // For the answer to a ping.
	maxGap      = 5 * time.Second  // Between the two clocks, in one beat.
)

// clockJump says that the wall clock moved against the running clock: the device
// slept, or somebody set its clock. What the engine's time is, a new connection tells.
type clockJump struct{ gap time.Duration }

func (j *clockJump) Error() string {
	return fmt.Sprintf("the device slept or its clock was set: %v", j.gap.Round(time.Second))
}

// heartbeat pings until ctx ends, and then returns nil; what comes out of nudged makes it
// ping at once, but not more often than every [nudgePeace]. It returns an error when there is no answer, which is [errNudged] after a
// nudge, and a [clockJump] when the device slept.
func heartbeat(ctx context.Context, nudged <-chan struct{}, ping func(context.Context) error) error {
	beat := time.NewTicker(wire.Heartbeat)
	defer beat.Stop()
	last := time.Now()
	listen := nudged
	var peace <-chan time.Time // Until it comes, nudges wait.
	for {
		var nudge bool
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
		case <-peace:
			listen, peace = nudged, nil
			continue
		case <-listen:
			nudge = true
			listen, peace = nil, time.After(nudgePeace)
		}
		now := time.Now()
		wall, running := now.Round(0).Sub(last.Round(0)), now.Sub(last)
		if err := jumped(wall, running); err != nil {
			return err
		}
		last = now
		if nudge {
			if err := answered(ctx, nudgeTimeout, ping); err != nil {
				return fmt.Errorf("%w: %w", errNudged, err)
			}
			continue
		}
		if err := answered(ctx, pongTimeout, ping); err != nil {
			return err
		}
	}
}

// answered waits for the answer to one ping.
func answered(ctx context.Context, timeout time.Duration, ping func(context.Context) error) error {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := ping(waiting); err != nil && ctx.Err() == nil {
		return fmt.Errorf("engine does not answer a ping: %w", err)
	}
	return nil
}

// jumped compares the time that passed on the wall clock with that on the running one.
func jumped(wall, running time.Duration) error {
	if gap := wall - running; gap.Abs() > maxGap {
		return &clockJump{gap: gap}
	}
	return nil
}
