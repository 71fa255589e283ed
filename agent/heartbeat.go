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

// heartbeat pings until ctx ends, and then returns nil. It returns an error when
// there is no answer and a [clockJump] when the device slept.
func heartbeat(ctx context.Context, ping func(context.Context) error) error {
	beat := time.NewTicker(wire.Heartbeat)
	defer beat.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
		}
		now := time.Now()
		wall, running := now.Round(0).Sub(last.Round(0)), now.Sub(last)
		if err := jumped(wall, running); err != nil {
			return err
		}
		last = now
		if err := answered(ctx, ping); err != nil {
			return err
		}
	}
}

// answered waits for the answer to one ping.
func answered(ctx context.Context, ping func(context.Context) error) error {
	waiting, cancel := context.WithTimeout(ctx, pongTimeout)
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
