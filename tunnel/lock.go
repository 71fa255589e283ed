package tunnel

import (
	"context"
	"fmt"
	"time"

	"borealis/store"
)

// unlocked is a [*LockedError] while a lock is in force on a device or its site.
func (m *Manager) unlocked(ctx context.Context, d store.Device) error {
	locks, err := m.config.Store.Locks(ctx, time.Now())
	if err != nil {
		return fmt.Errorf("read the locks: %w", err)
	}
	for _, l := range locks {
		if l.Kind == store.LockDevice && l.Target == d.ID || l.Kind == store.LockSite && l.Target == d.Site {
			return &LockedError{Kind: l.Kind, Reason: l.Reason, Until: l.Until}
		}
	}
	return nil
}
