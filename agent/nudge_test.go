package agent

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestNudgeEndsAWait, makes the next one short again, and never dials twice in a second.
func TestNudgeEndsAWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		a := &Agent{nudged: make(chan struct{}, 1), log: slog.New(slog.DiscardHandler)}
		b := &backoff{random: func(limit time.Duration) time.Duration { return limit }, ceiling: lastWait}
		var at []time.Duration
		began := time.Now()
		time.AfterFunc(10*time.Second, func() {
			for range 5 { // A storm is one nudge.
				a.Nudge("the device woke up")
			}
		})
		retry(ctx, b, a.nudged, func(context.Context) bool {
			at = append(at, time.Since(began))
			switch len(at) {
			case 2:
				a.Nudge("in the middle of a try")
			case 5:
				cancel()
			}
			return false
		})
		s := time.Second
		if diff := cmp.Diff([]time.Duration{0, 10 * s, 11 * s, 12 * s, 14 * s}, at); diff != "" {
			t.Errorf("tries (-want +got):\n%s", diff)
		}
	})
}

// TestNudgeAsksForASignOfLife over a connection: one that answers stays, one that does not is
// given up soon.
func TestNudgeAsksForASignOfLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nudged := make(chan struct{}, 1)
		pings := 0
		began := time.Now()
		for _, at := range []time.Duration{3 * time.Second, 4 * time.Second} { // The second waits a little.
			time.AfterFunc(at, func() { nudged <- struct{}{} })
		}
		err := heartbeat(t.Context(), nudged, func(ctx context.Context) error {
			if pings++; pings == 1 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if took := time.Since(began); !errors.Is(err, errNudged) || took != 5*time.Second+nudgeTimeout || pings != 2 {
			t.Errorf("%v after %v and %d pings", err, took, pings)
		}
	})
}
