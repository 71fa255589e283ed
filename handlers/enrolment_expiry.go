package handlers

import (
	"context"
	"errors"
	"time"

	"borealis/store"
)

const (
	pendingLife = 24 * time.Hour   // of a device that nobody decides about
	expiryBeat  = 30 * time.Second // how exactly that is kept
)

// keepEnrolment turns away devices that nobody decided about, until ctx ends.
func (s *Server) keepEnrolment(ctx context.Context) {
	tick := time.NewTicker(expiryBeat)
	defer tick.Stop()
	for {
		err := s.expirePending(ctx, time.Now())
		if errors.Is(err, store.ErrClosed) {
			return
		}
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "pending_not_expired", "err", err) // the next beat tries again
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// expirePending turns away the devices that have waited too long at now.
func (s *Server) expirePending(ctx context.Context, now time.Time) error {
	gone, err := s.config.Store.ExpirePending(ctx, now.Add(-pendingLife))
	if err != nil {
		return err
	}
	for _, id := range gone {
		s.cut(ctx, id, deviceGone)
	}
	return nil
}
