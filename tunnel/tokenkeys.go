package tunnel

import (
	"context"
	"time"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

const keyCheck = 24 * time.Hour // between looks at the age of the key that signs tokens

// keepTokenKey replaces the key that signs tokens when it is old, until ctx ends.
func (m *Manager) keepTokenKey(ctx context.Context) {
	wait := keyCheck
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if wait != keyCheck {
			m.announceKeys() // the key before is forgotten
		}
		wait = keyCheck
		if m.renewTokenKey(ctx, time.Now()) {
			wait = keys.TokenOverlap
		}
	}
}

// renewTokenKey replaces the key that signs tokens if it is old at a moment. Agents
// know the new one before anything is signed with it.
func (m *Manager) renewTokenKey(ctx context.Context, now time.Time) (renewed bool) {
	if !m.config.Keys.TokenDue(now) {
		return false
	}
	if err := m.config.Keys.RotateToken(now, m.announceKeys); err != nil {
		m.log.ErrorContext(ctx, "token_key_failed", "err", err) // the old one goes on
		return false
	}
	id, _ := m.config.Keys.TokenSigner()
	m.log.InfoContext(ctx, "token_key_rotated", "kid", id)
	return true
}

// announceKeys tells every agent which keys sign its tokens.
func (m *Manager) announceKeys() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.devices {
		if c := d.channel; c != nil {
			c.send(wire.FromEngine{Keys: &wire.Keys{TokenKeys: m.config.Keys.TokenKeys(c.identity)}})
		}
	}
}
