package tunnel

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	expiryRetry   = 10 * time.Second // after the store failed
	expiryLongest = time.Minute      // without a look at the clock, which may be set
	expiryAtOnce  = 16               // devices
)

// An expiry ends overrides at their time, which the store keeps.
type expiry struct {
	wake chan struct{} // has room for one: the set of overrides changed
}

// look makes it look again when the next override ends.
func (e *expiry) look() { offer(e.wake, struct{}{}) }

// keepExpiry removes overrides when they have expired, until the manager is closed.
func (m *Manager) keepExpiry(ctx context.Context) {
	for ctx.Err() == nil {
		pause, err := m.expire(ctx)
		if err != nil && ctx.Err() == nil {
			m.log.ErrorContext(ctx, "expiry_failed", "err", err)
			pause = expiryRetry
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-m.expiry.wake:
		}
		timer.Stop()
	}
}

// expire removes what has expired, and returns how long it is until the next one.
func (m *Manager) expire(ctx context.Context) (time.Duration, error) {
	ids, err := m.config.Store.ExpireOverrides(ctx, time.Now())
	if err != nil {
		return 0, err
	}
	var work errgroup.Group
	work.SetLimit(expiryAtOnce)
	for _, id := range ids {
		work.Go(func() error {
			err := m.reload(ctx, id)
			if s := m.session(id); err != nil && s != nil {
				s.fail(InternalError, err.Error()) // rather than keep open what is shown as closed
			}
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return 0, err
	}
	next, err := m.config.Store.NextExpiry(ctx)
	switch {
	case err != nil:
		return 0, err
	case next.IsZero():
		return expiryLongest, nil
	}
	return min(max(time.Until(next), 0), expiryLongest), nil
}

// reload puts into force what the store says of a device.
func (m *Manager) reload(ctx context.Context, deviceID string) error {
	d, err := m.lookUp(ctx, deviceID)
	if err != nil {
		return err
	}
	release, err := m.takePorts(ctx, deviceID)
	if err != nil {
		return err
	}
	defer release()
	p, err := m.policy(ctx, d)
	if err != nil {
		return err
	}
	m.log.InfoContext(ctx, "port_override_expired", "agent", deviceID)
	if s := m.session(deviceID); s != nil {
		s.apply(ctx, p)
	}
	m.watch.tell(deviceID)
	return nil
}
