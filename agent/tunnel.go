package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/agent/gate"
	"borealis/agent/wire"
	"borealis/tunnel/keys"
	"borealis/tunnel/token"
)

// start brings a tunnel up, if the agent may and has none. It is called from the
// channel's reader: the work is done in the session's own goroutine, below life.
func (a *Agent) start(life context.Context, c *connection, m wire.Start) {
	if reason, err := a.begin(life, c, m); err != nil {
		a.refuse(m.Tunnel, reason, err)
	}
}

// begin starts the goroutine of a new session, or says why there is none.
func (a *Agent) begin(life context.Context, c *connection, m wire.Start) (reason string, err error) {
	forbidden := a.forbidden()
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.current; s != nil && !s.ending {
		if s.id != m.Tunnel {
			return wire.Busy, fmt.Errorf("tunnel %s is up", s.id)
		}
		if s.ready != nil {
			a.tellLocked(wire.FromAgent{Ready: s.ready}) // Asked again: the same answer again.
		}
		return "", nil
	}
	if a.closing {
		return wire.StartFailed, errors.New("the agent is stopping")
	}
	if forbidden != nil {
		return wire.LocalPolicy, forbidden
	}
	claims, psk, err := a.verify(c, m)
	if err != nil {
		return wire.TokenRejected, err
	}
	ports := a.limits.Narrow(claims.Ports)
	ctx, end := context.WithCancel(life)
	s := &session{
		id: m.Tunnel, token: m.Token, psk: psk, claims: claims,
		device: c.welcome.DeviceID, engine: c.engine, end: end,
		admit: make(chan struct{}), done: make(chan struct{}),
		asUser: a.limits.AsUser(),
		gate: gate.New(gate.Config{
			Engine: claims.EngineIP, Ports: ports, Logger: a.log.With("tunnel", m.Tunnel),
		}),
		granted: grant{ports: claims.Ports, inForce: ports},
	}
	s.lease = newLease(func(reason string) { a.finish(s, reason) })
	if a.current != nil {
		s.before = a.current.done
	}
	a.current = s
	a.wakeLocked()
	a.tunnels.Go(func() { a.hold(ctx, s) })
	return "", nil
}

// verify checks what a start carries, and uses the token up.
func (a *Agent) verify(c *connection, m wire.Start) (token.Claims, wgtypes.Key, error) {
	psk, err := wgtypes.ParseKey(m.PresharedKey)
	if err != nil {
		return token.Claims{}, psk, fmt.Errorf("preshared key: %w", err)
	}
	want := token.Want{
		Engine: keys.PinOf(c.identity), Agent: a.keys.Identity.Pin(),
		Nonce: c.hello.Nonce, Tunnel: m.Tunnel,
	}
	claims, err := token.Check(m.Token, c.known(), want, c.now())
	if err != nil {
		return token.Claims{}, psk, err
	}
	return claims, psk, a.seen.use(claims.ID)
}

// admit lets a tunnel that is ready add its peer. For any other it means nothing.
func (a *Agent) admit(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.current; s != nil && s.id == id && !s.ending && s.ready != nil && !s.admitted {
		s.admitted = true
		close(s.admit)
		a.touch()
	}
}

// stop ends a tunnel for the engine. For one that is not there it means nothing.
func (a *Agent) stop(id, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.current; s != nil && s.id == id && !s.ending {
		s.told = true
		a.endLocked(s, reason)
	}
}

// renew lengthens a tunnel's lease. For one that is not there it means nothing.
func (a *Agent) renew(id string, d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.current; s != nil && s.id == id {
		s.lease.renew(d)
	}
}

// finish ends a tunnel that the agent itself has had enough of.
func (a *Agent) finish(s *session, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.endLocked(s, reason)
}

// endLocked tells a session's goroutine to take everything down. The first
// reason counts.
func (a *Agent) endLocked(s *session, reason string) {
	if s.ending {
		return
	}
	s.ending, s.reason = true, reason
	a.touch()
	s.lease.stop()
	s.end()
}

// over notes that nothing of a session is left, and tells the engine unless it
// asked for the end. The error is what the session died of, or what went wrong
// while it was taken down.
func (a *Agent) over(s *session, err error) {
	a.mu.Lock()
	failed := s.ready == nil && !s.ending && err != nil
	a.endLocked(s, wire.LinkFailed)
	if a.current == s {
		a.current = nil
		a.restLocked()
	}
	stopped := wire.Stopped{Tunnel: s.id, Reason: s.reason}
	if !s.told && !failed {
		a.last = stopped
		a.tellLocked(wire.FromAgent{Stopped: &stopped})
	}
	a.mu.Unlock()
	switch {
	case failed:
		a.refuse(s.id, wire.StartFailed, err)
	case err != nil:
		a.log.Error("tunnel_down", "tunnel", s.id, "reason", stopped.Reason, "err", err)
	default:
		a.log.Info("tunnel_down", "tunnel", s.id, "reason", stopped.Reason)
	}
}

// shutDown ends the tunnel and waits until nothing of it is left.
func (a *Agent) shutDown() {
	a.mu.Lock()
	a.closing = true
	if a.current != nil {
		a.endLocked(a.current, wire.AgentShutdown)
	}
	a.mu.Unlock()
	a.tunnels.Wait()
	a.mu.Lock()
	a.wakeLocked()
	a.mu.Unlock()
}

// refuse tells the engine, and the log, why no tunnel came of a start.
func (a *Agent) refuse(id, reason string, err error) {
	a.log.Warn("tunnel_refused", "tunnel", id, "reason", reason, "err", err)
	refused := wire.Refused{Tunnel: id, Reason: reason, Detail: clean(err.Error(), maxSentence)}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tellLocked(wire.FromAgent{Refused: &refused})
}

// held returns the id of the admitted tunnel, or "".
func (a *Agent) held() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.heldLocked()
}

func (a *Agent) heldLocked() string {
	if s := a.current; s != nil && s.admitted && !s.ending {
		return s.id
	}
	return ""
}

// lastReasonLocked returns why a tunnel that is gone ended.
func (a *Agent) lastReasonLocked(id string) string {
	if a.last.Tunnel == id {
		return a.last.Reason
	}
	return wire.LinkFailed
}
