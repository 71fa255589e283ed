package agent

import (
	"errors"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
	"borealis/tunnel/token"
)

// enforce makes the ports of a policy those of the tunnel that it is for, and tells
// the engine when that is done. A policy that does not pass changes nothing.
func (a *Agent) enforce(c *connection, m wire.Policy) {
	s := a.live(m.Tunnel)
	revision, err := a.setPorts(c, s, m.Policy)
	if err != nil {
		a.log.Warn("policy_rejected", "tunnel", m.Tunnel, "err", err)
		return
	}
	a.log.Info("policy_applied", "tunnel", m.Tunnel)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !s.ending {
		a.tellLocked(wire.FromAgent{Applied: &wire.Applied{Tunnel: s.id, Revision: revision}})
	}
}

// live returns the tunnel of an id, from its start to its end, or nil.
func (a *Agent) live(id string) *session {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.current; s != nil && s.id == id && !s.ending {
		return s
	}
	return nil
}

// setPorts checks a policy for a session and sets its gate.
func (a *Agent) setPorts(c *connection, s *session, signed string) (revision int64, err error) {
	if s == nil {
		return 0, errors.New("no such tunnel is up")
	}
	p, err := token.CheckPolicy(signed, c.known(), keys.PinOf(c.identity), a.keys.Identity.Pin(), s.id)
	if err != nil {
		return 0, err
	}
	return p.Revision, s.gate.Set(p.Revision, p.Ports)
}
