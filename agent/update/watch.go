package update

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Times of a watcher.
const (
	// Patience is how long a new program has to check in with its engine.
	Patience = 2 * time.Minute

	look        = 250 * time.Millisecond // Between two looks at the service and the state.
	stopTimeout = 45 * time.Second       // For the service to stop.
	lockTimeout = 5 * time.Second        // For somebody who only looks whether there is a watcher.
)

// Limits of a watcher.
const (
	maxWatches = 3 // Of one update: the device stopped in the middle of each before.
	maxStarts  = 5 // Of the service, with growing pauses.
)

// ErrGone means that the service was removed, or the state of the update: an administrator
// uninstalls the agent, or installs another version.
var ErrGone = errors.New("the service or the state of the update is gone")

// Service is how a watcher controls the service that the updated program is. Each function
// may be called in any state of the service and brings about or tells what it is named for.
type Service struct {
	Stop    func(context.Context) error // Returns when its process has ended.
	Start   func(context.Context) error
	Running func() (bool, error) // The error is ErrGone when there is no such service.
}

// WatchConfig says what is watched. Place and Service are required.
type WatchConfig struct {
	Place
	Service  Service
	Patience time.Duration // Zero means [Patience].
	Ready    io.Writer     // Gets one line as soon as the watch has begun. Nil is silent.
	Logger   *slog.Logger  // Nil is silent.
}

// Watch sees an update through: it returns nil when the new program has checked in, or when
// there is nothing to watch, and an error that says why when the old one is back in its
// place. When the service or the state is removed meanwhile it leaves everything as it is;
// the error is [ErrGone]. Two watchers at once are an error of the second.
func Watch(ctx context.Context, c WatchConfig) error {
	if c.Patience == 0 {
		c.Patience = Patience
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	unlock, err := lockSoon(ctx, c.lockPath())
	if err != nil {
		return fmt.Errorf("watch the update: %w", err)
	}
	defer unlock()
	if c.Ready != nil {
		if _, err := fmt.Fprintln(c.Ready, "watching"); err != nil {
			return fmt.Errorf("watch the update: %w", err)
		}
	}
	s, err := c.Read()
	if errors.Is(err, fs.ErrNotExist) || err == nil && s.Phase != Pending {
		return nil
	}
	if err != nil {
		return err
	}
	c.Logger.InfoContext(ctx, "update_watched", "reason", s.From+" to "+s.To)
	why := c.trial(ctx, s)
	if ctx.Err() != nil {
		return fmt.Errorf("watch the update: %w", ctx.Err()) // The device stops: the new program starts the next watcher.
	}
	switch {
	case why == nil:
		c.Logger.InfoContext(ctx, "update_confirmed", "reason", s.To)
		return nil
	case errors.Is(why, ErrGone):
		return fmt.Errorf("watch the update: %w", why)
	}
	return c.rollBack(ctx, why)
}

// trial starts the new program and waits for it to check in. The error says why it does not.
func (c *WatchConfig) trial(ctx context.Context, s State) error {
	if s.Watches > maxWatches {
		return fmt.Errorf("the device stopped %d times before version %s checked in", maxWatches, s.To)
	}
	if s.Watches == 1 { // Else the one that runs is the new one, and started this watcher.
		if err := c.stop(ctx); err != nil {
			return fmt.Errorf("the old version did not stop: %w", err)
		}
	}
	limit := time.NewTimer(c.Patience)
	defer limit.Stop()
	tick := time.NewTicker(look)
	defer tick.Stop()
	var (
		starts int
		failed error     // Of the last start.
		again  time.Time // No start before that.
	)
	for {
		switch running, err := c.Service.Running(); {
		case err != nil:
			return fmt.Errorf("the service cannot be asked how it is: %w", err)
		case running || time.Now().Before(again):
		case starts == maxStarts && failed == nil:
			return fmt.Errorf("version %s ended %d times right after its start", s.To, maxStarts)
		case starts == maxStarts:
			return fmt.Errorf("version %s does not start: %w", s.To, failed)
		default:
			failed = c.Service.Start(ctx)
			again = time.Now().Add(time.Second << starts)
			starts++
		}
		select {
		case <-tick.C:
		case <-limit.C:
			if failed != nil {
				return fmt.Errorf("version %s does not start: %w", s.To, failed)
			}
			return fmt.Errorf("version %s did not check in with the engine within %.0f seconds", s.To, c.Patience.Seconds())
		case <-ctx.Done():
			return ctx.Err()
		}
		switch confirmed, err := c.confirmed(); {
		case errors.Is(err, fs.ErrNotExist):
			return ErrGone
		case confirmed:
			return nil
		}
	}
}

// confirmed reports whether the new program has checked in.
func (c *WatchConfig) confirmed() (bool, error) {
	s, err := c.Read()
	return s.Phase == Confirmed, err
}

// stop stops the service.
func (c *WatchConfig) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	return c.Service.Stop(ctx)
}

// rollBack puts the old program in its place again and starts it. It returns why.
func (c *WatchConfig) rollBack(ctx context.Context, why error) error {
	c.Logger.WarnContext(ctx, "update_rolls_back", "err", why)
	stopping := c.stop(ctx)                       // When it does not, its file can be renamed all the same.
	if confirmed, _ := c.confirmed(); confirmed { // In the last moment.
		return errors.Join(stopping, c.Service.Start(ctx))
	}
	err := c.swapBack(why)
	if err != nil {
		c.Logger.ErrorContext(ctx, "update_stuck", "err", err)
	} else {
		c.Logger.WarnContext(ctx, "update_rolled_back", "err", why)
	}
	return errors.Join(why, stopping, err, c.Service.Start(ctx))
}

// swapBack undoes what Begin did to the files, and notes why.
func (c *WatchConfig) swapBack(why error) error {
	s, err := c.Read()
	if err != nil {
		return err
	}
	if err := os.Rename(c.Exe, c.staged()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put the old program back: %w", err)
	}
	if err := os.Rename(c.previous(), c.Exe); err != nil {
		return errors.Join(fmt.Errorf("put the old program back: %w", err), os.Rename(c.staged(), c.Exe))
	}
	os.Remove(c.staged()) // When its process still ends, the next start removes it.
	s.Phase, s.Reason = RolledBack, sentence(why)
	return c.write(s)
}

// sentence is an error as a person reads it.
func sentence(err error) string {
	first, n := utf8.DecodeRuneInString(err.Error())
	return string(unicode.ToUpper(first)) + strings.TrimSuffix(err.Error()[n:], ".") + "."
}

// lockSoon takes the lock of the watcher, which somebody may hold for a moment who only
// looks whether there is one.
func lockSoon(ctx context.Context, path string) (unlock func(), err error) {
	limit := time.Now().Add(lockTimeout)
	for {
		unlock, err := lock(path)
		if !errors.Is(err, errLocked) || time.Now().After(limit) {
			return unlock, err
		}
		select {
		case <-time.After(look / 5):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
