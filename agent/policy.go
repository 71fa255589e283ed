package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"borealis/agent/gate"
	"borealis/agent/limits"
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
	return p.Revision, s.granted.set(s.gate, a.limits, p.Revision, p.Ports)
}

// lookAgain is how long a change of the device's local policy may go unseen by a tunnel.
const lookAgain = 500 * time.Millisecond

// forbidden says why the device's local policy allows no tunnel now, or returns nil.
func (a *Agent) forbidden() error {
	if _, stopped := a.limits.Stopped(); stopped {
		return limits.ErrStopped
	}
	if err := a.limits.Err(); err != nil {
		return fmt.Errorf("the device's local policy cannot be used, so no tunnel is allowed until its owner mends it: %w", err)
	}
	now := time.Now()
	if _, open := a.limits.Open(now); !open {
		return fmt.Errorf("the device's local policy allows no tunnel at this hour; its clock shows %s", now.Format("Mon 15:04"))
	}
	return nil
}

// keepPolicy holds a session to the device's local policy, whatever becomes of the policy,
// until stop is called.
func (a *Agent) keepPolicy(ctx context.Context, s *session) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() {
		for {
			wait, err := a.within(s)
			if err != nil {
				a.log.Warn("policy_ended", "tunnel", s.id, "err", err)
				a.forbid(s, err)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
	})
	return func() { cancel(); keeping.Wait() }
}

// within brings a session's ports in line with the local policy. It returns when to look
// again, or why the session may not go on.
func (a *Agent) within(s *session) (wait time.Duration, err error) {
	if err := a.forbidden(); err != nil {
		return 0, err
	}
	if a.limits.AsUser() != s.asUser {
		return 0, errors.New("the local policy runs shells as somebody else now")
	}
	if err := s.granted.apply(s.gate, a.limits); err != nil {
		return 0, err
	}
	until, _ := a.limits.Open(time.Now())
	if until.IsZero() {
		return lookAgain, nil
	}
	return min(lookAgain, time.Until(until)), nil
}

// grant is what the engine allows through one tunnel.
type grant struct {
	mu       sync.Mutex
	revision int64        // Of the engine's policy; 0 is its token.
	ports    []token.Port // That the engine allows.
	inForce  []token.Port // Those of ports that the local policy allows too: the gate's.
	sets     int64        // How often the gate was set.
}

// set makes ports all that the engine allows. The revision is higher than the one before,
// else nothing changes and the error is [gate.ErrStale]; but the very same again is no error.
func (g *grant) set(door *gate.Gate, local *limits.Policy, revision int64, ports []token.Port) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if revision < g.revision || revision == g.revision && !slices.Equal(ports, g.ports) {
		return fmt.Errorf("set ports to revision %d after %d: %w", revision, g.revision, gate.ErrStale)
	}
	if err := g.narrowLocked(door, local, ports); err != nil {
		return err
	}
	g.revision, g.ports = revision, slices.Clone(ports)
	return nil
}

// apply brings the gate in line with the local policy.
func (g *grant) apply(door *gate.Gate, local *limits.Policy) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.narrowLocked(door, local, g.ports)
}

// narrowLocked sets the gate to those of ports that the local policy allows.
func (g *grant) narrowLocked(door *gate.Gate, local *limits.Policy, ports []token.Port) error {
	allowed := local.Narrow(ports)
	if slices.Equal(allowed, g.inForce) {
		return nil
	}
	g.sets++
	if err := door.Set(g.sets, allowed); err != nil {
		return err
	}
	g.inForce = allowed
	return nil
}
