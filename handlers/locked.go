package handlers

import (
	"context"
	"time"

	"borealis/store"
)

// locked is the failure of whom or what a lock keeps out.
func locked(l store.Lock) *failure {
	kind, what := codeDeviceLocked, "The device is locked"
	switch l.Kind {
	case store.LockOperator:
		kind, what = codeOperatorLocked, "Your access is locked"
	case store.LockSite:
		what = "The device's site is locked"
	}
	if !l.Until.IsZero() {
		what += " until " + l.Until.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	reason := clean(l.Reason, maxLockReason)
	if reason != "" {
		what += ": " + reason
	}
	f := refuse(kind, "%s.", what)
	f.reason, f.until = reason, l.Until
	return f
}

const maxLockReason = 200 // characters of a lock's reason that are shown

// deviceLock is the lock that keeps everybody from a device; nil when there is none.
func deviceLock(locks []store.Lock, d store.Device) *store.Lock {
	for i, l := range locks {
		if l.Kind == store.LockDevice && l.Target == d.ID || l.Kind == store.LockSite && d.Site != "" && l.Target == d.Site {
			return &locks[i]
		}
	}
	return nil
}

// notLocked is the failure of an operator who is locked.
func (s *Server) notLocked(ctx context.Context, operator string) error {
	locks, err := s.config.Store.Locks(ctx, time.Now())
	if err != nil {
		return err
	}
	for _, l := range locks {
		if l.Kind == store.LockOperator && l.Target == operator {
			return locked(l)
		}
	}
	return nil
}
