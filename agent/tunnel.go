package agent

import (
	"cmp"
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
		device: c.welcome.DeviceID, dialled: c.address, engine: c.engine, end: end,
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
	a.point(s, "token_checked")
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

// stop ends a tunnel for the engine. What the engine says is on record: it counts too when the agent
// has ended the tunnel by itself meanwhile, and if that is in the log with another reason, this one
// follows it.
func (a *Agent) stop(id, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.current; s != nil && s.id == id {
		a.endLocked(s, reason)
		s.told, s.reason = true, reason
		return
	}
	if a.last.Tunnel != id {
		return
	}
	a.unsettled = false
	a.touch()
	switch {
	case a.parting != nil:
		a.parting.reason = reason
	case wire.EndReason(a.last.Reason) != reason:
		a.log.Info("tunnel_recorded", "tunnel", id, "reason", reason)
	}
}

// forbid ends a tunnel that the device's owner does not allow any more, and says why.
func (a *Agent) forbid(s *session, why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !s.ending {
		s.detail = clean(why.Error(), maxSentence)
		a.endLocked(s, wire.PolicyEnded)
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
		a.touch()
		a.restLocked()
	}
	if failed {
		a.mu.Unlock()
		a.refuse(s.id, wire.StartFailed, err)
		return
	}
	e := ending{tunnel: s.id, reason: s.reason, detail: s.detail, err: err}
	parting := !s.told && s.reason == wire.AgentShutdown
	if !s.told {
		e.reason, e.detail = wire.EndReason(s.reason), cmp.Or(s.detail, s.reason)
		a.last, a.unsettled = wire.Stopped{Tunnel: s.id, Reason: s.reason, Detail: s.detail}, true
		a.stoppedLocked(a.last)
	}
	if parting {
		a.parting = &e
	}
	a.mu.Unlock()
	if !parting {
		a.down(e)
	}
}

// An ending is how a tunnel ended, for the log.
type ending struct {
	tunnel, reason, detail string
	err                    error // What went wrong on the way, or nil.
}

// down logs the end of a tunnel.
func (a *Agent) down(e ending) {
	if e.err != nil {
		a.log.Error("tunnel_down", "tunnel", e.tunnel, "reason", e.reason, "detail", e.detail, "err", e.err)
		return
	}
	a.log.Info("tunnel_down", "tunnel", e.tunnel, "reason", e.reason, "detail", e.detail)
}

// part logs how the tunnel ended that the agent had when it was stopped. An engine that did not hear
// of it finds the agent lost. Whatever it has on record, the next agent asks for.
func (a *Agent) part() {
	a.mu.Lock()
	e := a.parting
	if e != nil && a.unsettled && !a.heard {
		a.last.Reason, a.last.Detail = wire.ChannelLost, "the agent was stopped while the engine was out of reach"
		e.reason, e.detail = wire.EndReason(a.last.Reason), a.last.Detail
	}
	a.mu.Unlock()
	if e != nil {
		a.down(*e)
	}
}

// bury takes over what the agent's program before this one left: the end of its last tunnel, if the
// engine has not confirmed that, or the tunnel that it had when it died.
func (a *Agent) bury() {
	before, _, err := ReadStatus(a.data)
	if err != nil {
		return
	}
	last := before.Ended
	if before.Tunnel != "" {
		last = &wire.Stopped{Tunnel: before.Tunnel, Reason: wire.LinkFailed, Detail: "the agent's program ended without a word"}
		a.log.Warn("tunnel_down", "tunnel", last.Tunnel, "reason", wire.EndReason(last.Reason), "detail", last.Detail)
	}
	if last == nil {
		return
	}
	if _, err := (wire.FromAgent{Stopped: last}).Encode(); err != nil {
		return // Somebody else wrote that; it would end the channel.
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last, a.unsettled = *last, true
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

// stoppedLocked tells the engine that a tunnel has ended, if there is a channel, as far as it
// understands that.
func (a *Agent) stoppedLocked(m wire.Stopped) {
	if a.protocol < 3 {
		m.Detail = ""
	}
	a.tellLocked(wire.FromAgent{Stopped: &m})
}
