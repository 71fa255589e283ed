package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// A supervisor is told that the engine is ready, that it is alive, and that it stops
// (sd_notify(3)). Without systemd all of it does nothing.
type supervisor struct{ log *slog.Logger }

func (s supervisor) say(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("notify_failed", "reason", state, "err", err)
	}
}

// watch says that the engine is alive, twice in each of systemd's watchdog intervals, as
// long as healthy says so. The caller calls stop, which returns when nothing of it runs.
func (s supervisor) watch(ctx context.Context, healthy func(context.Context) error) (stop func()) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() {
		tick := time.NewTicker(every / 2)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := healthy(ctx); err != nil {
				s.log.ErrorContext(ctx, "unhealthy", "err", err)
				continue
			}
			s.say(daemon.SdNotifyWatchdog)
		}
	})
	return func() {
		cancel()
		work.Wait()
	}
}
