package tunnel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"borealis/acl"
	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/keys"
	"borealis/tunnel/token"
)

const appliedTimeout = 2 * time.Second // for the agent to say that it enforces a policy

// policy reads which ports of a device are open.
func (m *Manager) policy(ctx context.Context, d store.Device) (acl.Policy, error) {
	revision, rows, err := m.config.Store.Overrides(ctx, d.ID)
	if errors.Is(err, store.ErrNotFound) {
		return acl.Policy{}, ErrUnknownDevice
	}
	if err != nil {
		return acl.Policy{}, fmt.Errorf("read the ports: %w", err)
	}
	p := acl.Policy{OS: d.OS, Revision: revision, Overrides: make([]acl.Override, len(rows))}
	for i, r := range rows {
		p.Overrides[i] = acl.Override{
			Service: r.Service, Port: acl.Port{Protocol: r.Protocol, From: r.From, To: r.To}, Label: r.Label,
			Allowed: r.Allowed, Until: r.Until, Reason: r.Reason, By: r.By, At: r.At,
		}
	}
	return p, nil
}

// rows is overrides as the store keeps them.
func rows(overrides []acl.Override) []store.Override {
	all := make([]store.Override, len(overrides))
	for i, o := range overrides {
		all[i] = store.Override{
			Service: o.Service, Protocol: o.Port.Protocol, From: o.Port.From, To: o.Port.To, Label: o.Label,
			Allowed: o.Allowed, Until: o.Until, Reason: o.Reason, By: o.By, At: o.At,
		}
	}
	return all
}

// takePorts waits for the turn to change which ports of a device are open. Nothing
// else of it changes meanwhile: two changes cannot overtake each other, nor a tunnel
// that is being made. The caller gives the turn back with release.
func (m *Manager) takePorts(ctx context.Context, deviceID string) (release func(), err error) {
	return take(ctx, m.turnOf(deviceID))
}

func (m *Manager) turnOf(deviceID string) chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.deviceLocked(deviceID).changing
}

func take(ctx context.Context, turn chan struct{}) (release func(), err error) {
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// apply puts a policy into force in a live tunnel: what closes is closed on the
// engine first, then what is open there is cut, then the agent is told. When the
// host's firewall refuses, the tunnel ends. The caller has the turn of the device.
func (s *session) apply(ctx context.Context, p acl.Policy) {
	ports := p.Allowed(time.Now())
	s.mu.Lock()
	same := slices.Equal(ports, s.ports)
	s.policy, s.ports = p, ports
	s.revised = s.revised || !same
	s.spoke = s.spoke && acl.Contains(ports, acl.TCP, wire.ShellPort)
	admitted := s.admitted
	s.mu.Unlock()
	if !admitted || s.closing() {
		return // a tunnel that is being made gets there by itself
	}
	s.proofs.interrupt()
	defer s.proofs.request(true)
	if same {
		return
	}
	if err := s.manager.plan.set(ctx, s.vip, ports); err != nil {
		s.fail(FirewallLost, err.Error())
		return
	}
	s.cutClosed(ports)
	if s.push(ctx) {
		s.awaitApplied(ctx)
	}
}

// push signs the ports that are open and sends them to the agent; it reports whether
// they are on their way. The caller has the turn of the device.
func (s *session) push(ctx context.Context) bool {
	s.mu.Lock()
	s.sent++
	p := token.Policy{Tunnel: s.id, Revision: s.sent, Ports: tokenPorts(s.ports)}
	s.mu.Unlock()
	c := s.manager.channel(s.device.ID)
	if c == nil {
		return false // resync sends it when the agent is back
	}
	p.Engine = c.identity.Pin()
	var err error
	if p.Agent, err = keys.ParsePin(s.device.Pin); err == nil {
		id, key := s.manager.config.Keys.TokenSigner()
		var signed string
		if signed, err = token.SignPolicy(key, id, p); err == nil {
			return s.send(wire.FromEngine{Policy: &wire.Policy{Tunnel: s.id, Policy: signed}})
		}
	}
	s.manager.log.ErrorContext(ctx, "policy_failed", "tunnel", s.id, "agent", s.device.ID, "err", err)
	return false
}

// resync sends the ports again to an agent that came back and may not have got them.
func (s *session) resync(ctx context.Context) {
	release, err := take(ctx, s.changing)
	if err != nil {
		return
	}
	defer release()
	if !s.confirmed() {
		s.push(ctx)
	}
}

// confirm notes that the agent enforces a policy.
func (s *session) confirm(revision int64) {
	s.mu.Lock()
	news := revision == s.sent && s.applied < revision // else it is old, or made up
	if news {
		s.applied = revision
		close(s.told)
		s.told = make(chan struct{})
	}
	s.mu.Unlock()
	if news {
		s.proofs.request(true)
	}
}

// confirmed reports whether the agent enforces the ports that are open: it said so,
// or they are the ones of its token.
func (s *session) confirmed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applied == s.sent
}

// awaitApplied waits a moment for the agent to confirm. Whether it did, confirmed says.
func (s *session) awaitApplied(ctx context.Context) {
	limit := time.NewTimer(appliedTimeout)
	defer limit.Stop()
	for {
		s.mu.Lock()
		done, told := s.applied == s.sent, s.told
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-told:
		case <-limit.C:
			s.manager.log.WarnContext(ctx, "policy_unconfirmed", "tunnel", s.id, "agent", s.device.ID)
			return
		case <-s.dying:
			return
		case <-ctx.Done():
			return
		}
	}
}

// allows reports whether a port is open.
func (s *session) allows(protocol string, port uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return acl.Contains(s.ports, protocol, port)
}

// askable reports whether the shell's port tells if the agent is there: also while the agent has not
// confirmed what was changed last, when that port answered before and stays open.
func (s *session) askable() bool {
	s.mu.Lock()
	spoke := s.spoke
	s.mu.Unlock()
	return spoke || s.shellAnswers()
}

// shellAnswers reports whether the shell's port should answer: it is open, and the
// agent knows that.
func (s *session) shellAnswers() bool {
	return s.allows(acl.TCP, wire.ShellPort) && s.confirmed()
}
