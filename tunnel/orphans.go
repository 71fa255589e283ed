package tunnel

import (
	"context"
	"time"

	"borealis/store"
)

const (
	compareEvery = 5 * time.Second  // between two comparisons of the tunnels with their rows
	orphanAge    = 30 * time.Second // of a row without a tunnel: no tunnel is made or torn down for as long
)

// What people read of a tunnel that was not as it was stored.
const (
	noTunnel = "it was stored as open, but the engine had no such tunnel"
	noRow    = "its record was closed by somebody else"
)

// keepSessions compares the tunnels with what is stored of them, until the manager is closed.
func (m *Manager) keepSessions(ctx context.Context) {
	tick := time.NewTicker(m.config.compare)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			m.compareSessions(ctx, now)
		}
	}
}

// compareSessions ends what is only a row, and what is only a tunnel. While records cannot be
// written, rows stay behind for that reason, and are left alone.
func (m *Manager) compareSessions(ctx context.Context, now time.Time) {
	if m.Recording() != nil {
		return
	}
	m.mu.Lock()
	live := m.sessionsLocked() // before the rows: the row of a tunnel is older than the tunnel
	m.mu.Unlock()
	open, err := m.config.Store.OpenTunnels(ctx)
	if err != nil {
		if ctx.Err() == nil {
			m.log.ErrorContext(ctx, "sessions_unreadable", "err", err)
		}
		return
	}
	for _, s := range live {
		if _, ok := open[s.id]; !ok && !s.closing() {
			m.endUnstored(ctx, s)
		}
		delete(open, s.id)
	}
	for id, requested := range open {
		if now.Sub(requested) >= orphanAge && m.session(id) == nil && !m.recorder.holds(id) {
			m.endOrphan(ctx, id, now)
		}
	}
}

// endUnstored ends a tunnel whose row has ended or is gone.
func (m *Manager) endUnstored(ctx context.Context, s *session) {
	s.fail(InternalError, noRow)
	m.sessionRepaired(ctx, store.Record{DeviceID: s.device.ID, TunnelID: s.id, Detail: noRow})
}

// endOrphan ends a row that no tunnel belongs to, with its token.
func (m *Manager) endOrphan(ctx context.Context, id string, now time.Time) {
	row, err := m.config.Store.Tunnel(ctx, id)
	if err != nil {
		m.log.ErrorContext(ctx, "session_repair_failed", "tunnel", id, "err", err)
		return
	}
	steps := append(row.Steps, store.Step{Name: string(Ended), At: now, Detail: string(InternalError)})
	did := store.Record{At: now, DeviceID: row.DeviceID, TunnelID: id, Kind: "tunnel_down", Reason: string(InternalError), Detail: noTunnel}
	first, err := m.config.Store.EndTunnel(ctx, id, string(InternalError), now, 0, 0, steps, did)
	switch {
	case err != nil:
		m.log.ErrorContext(ctx, "session_repair_failed", "tunnel", id, "err", err) // the next comparison finds it again
	case first:
		m.log.InfoContext(ctx, "tunnel_down", "tunnel", id, "agent", row.DeviceID, "reason", InternalError, "detail", noTunnel)
		m.sessionRepaired(ctx, store.Record{DeviceID: row.DeviceID, TunnelID: id, Detail: noTunnel})
	}
}

// sessionRepaired tells everybody what was repaired.
func (m *Manager) sessionRepaired(ctx context.Context, did store.Record) {
	did.Kind = "session_repaired"
	m.log.WarnContext(ctx, "session_repaired", "tunnel", did.TunnelID, "agent", did.DeviceID, "reason", did.Detail)
	m.record(did)
	m.config.Observe.repaired("session")
	m.watch.tell(did.DeviceID)
}

// holds reports whether something of a tunnel waits to be written.
func (r *recorder) holds(tunnelID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.queue {
		if e.tunnel == tunnelID {
			return true
		}
	}
	return false
}
