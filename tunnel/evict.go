package tunnel

import (
	"context"
	"sync"

	"borealis/store"
)

// Evict releases every holder for whom why gives a reason, closes the terminals that
// they opened, and ends the tunnels in which nobody is left. It returns when the
// terminals are closed and the ends have begun. Doing it again changes nothing. It is
// safe for concurrent use; why is called without any lock held.
func (m *Manager) Evict(ctx context.Context, why func(d store.Device, h Holder) Reason) {
	m.mu.Lock()
	live := m.sessionsLocked()
	m.mu.Unlock()
	var closing sync.WaitGroup
	for _, s := range live {
		reason := func(h Holder) Reason { return why(s.device, h) }
		if m.release(s, reason) {
			m.log.InfoContext(ctx, "operators_evicted", "tunnel", s.id, "agent", s.device.ID)
		}
		for _, t := range s.running() {
			if r := reason(t.holder); r != "" {
				closing.Go(func() { t.CloseFor(r) })
			}
		}
	}
	closing.Wait()
}
