package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/acl"
	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/keys"
	"borealis/tunnel/token"
	"borealis/tunnel/wg"
)

const (
	probeEvery = 1500 * time.Millisecond // while the agent's connection is lost
	probesLost = 2                       // probes in a row that nobody answers
	lookAgain  = 50 * time.Millisecond   // for a peer that was taken away
)

// establish takes an offered tunnel to up. The order is the design: the token is
// checked and used up, then the ports are set, then the peer is added, and only then
// does the agent begin its handshake.
func (s *session) establish(ctx context.Context) *failure {
	ready, f := s.awaitReady(ctx)
	if f != nil {
		return f
	}
	key, f := s.redeem(ctx, ready)
	if f != nil {
		return f
	}
	s.step(Ready, "")
	if f := s.admit(ctx, key); f != nil {
		return f
	}
	if f := s.awaitTraffic(ctx, key); f != nil {
		return f
	}
	s.note("answered")
	at := time.Now()
	s.recordUp(ctx, at) // before anybody can do anything in the tunnel
	s.stepAt(Up, "", at)
	return nil
}

// admit sets the ports, adds the peer and lets the agent begin. Which ports are open
// cannot change meanwhile; what changed since the token was signed is sent after it.
func (s *session) admit(ctx context.Context, key wgtypes.Key) *failure {
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.manager.config.after(s.id, turnTimeout, cancel)()
	release, err := take(limited, s.changing)
	if err != nil {
		return &failure{reason: InternalError, detail: "a change of the device's ports does not end"} // or somebody ended it
	}
	defer release()
	s.mu.Lock()
	s.agentKey = key
	ports, revised := s.ports, s.revised
	s.mu.Unlock()
	if err := s.manager.plan.set(ctx, s.vip, ports); err != nil {
		return &failure{reason: FirewallLost, detail: err.Error()}
	}
	s.note("ports_set")
	if ctx.Err() != nil {
		return &failure{reason: InternalError} // somebody ended it
	}
	if err := s.link.AddPeer(wg.Peer{PublicKey: key, PresharedKey: s.psk, AllowedIP: s.vip}); err != nil {
		return &failure{reason: InternalError, detail: fmt.Sprintf("add the peer: %v", err)}
	}
	s.step(Peered, "")
	if !s.send(wire.FromEngine{Admit: &wire.Admit{Tunnel: s.id}}) {
		return &failure{reason: AgentLost, detail: "the agent's connection was lost"}
	}
	s.mu.Lock()
	s.admitted = true
	s.mu.Unlock()
	s.note("admitted")
	if revised {
		s.push(ctx)
	}
	return nil
}

// awaitReady waits for the agent's answer to the offer.
func (s *session) awaitReady(ctx context.Context) (answer, *failure) {
	late := make(chan struct{})
	defer s.manager.config.after(s.id, stepTimeout, func() { close(late) })()
	select {
	case <-ctx.Done():
		return answer{}, &failure{reason: InternalError}
	case <-late:
		return answer{}, &failure{reason: StartTimeout, detail: "the agent did not answer"}
	case <-s.gone:
		return answer{}, &failure{reason: AgentLost, detail: "the agent's connection was lost"}
	case a := <-s.answers:
		if a.refused == nil {
			return a, nil
		}
		reason := InternalError
		switch a.refused.Reason {
		case "busy":
			reason = AgentBusy
		case "token_rejected":
			reason = TokenRejected
		case wire.LocalPolicy:
			reason = LocalPolicy
		}
		return answer{}, &failure{reason: reason, detail: "the agent refused: " + a.refused.Detail}
	}
}

// redeem checks the token that the agent shows and uses it up. It returns the key
// of the peer that may be added.
func (s *session) redeem(ctx context.Context, a answer) (wgtypes.Key, *failure) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout) // however many wait for the store
	defer cancel()
	m := s.manager
	key, err := wgtypes.ParseKey(a.ready.WireGuardKey)
	if err != nil || key == (wgtypes.Key{}) || key == s.link.PublicKey() {
		return key, &failure{reason: TokenRejected, detail: "the agent sent no usable WireGuard key"}
	}
	if m.tunnelKey(key) { // its peer would be taken from the other tunnel
		return key, &failure{reason: TokenRejected, detail: "another tunnel has this WireGuard key"}
	}
	pin, err := keys.ParsePin(s.device.Pin)
	if err != nil {
		return key, &failure{reason: InternalError, detail: err.Error()}
	}
	want := token.Want{Engine: s.identity, Agent: pin, Nonce: a.nonce, Tunnel: s.id}
	now := time.Now()
	claims, err := token.Check(a.ready.Token, m.config.Keys.TokenPublic(), want, now)
	if err != nil {
		return key, &failure{reason: TokenRejected, detail: err.Error()}
	}
	s.note("token_checked")
	if err := m.config.Store.RedeemToken(ctx, claims.ID, now); err != nil {
		if errors.Is(err, store.ErrTokenUsed) {
			return key, &failure{reason: TokenRejected, detail: "the token was used before"}
		}
		return key, &failure{reason: InternalError, detail: err.Error()}
	}
	return key, nil
}

// awaitTraffic waits until the tunnel provably works: a handshake, and an answer
// from the shell's port when that is open.
func (s *session) awaitTraffic(ctx context.Context, key wgtypes.Key) *failure {
	if f := s.awaitHandshake(ctx, key); f != nil {
		return f
	}
	s.note("handshake")
	s.awaitApplied(ctx)
	if !s.shellAnswers() {
		return nil
	}
	if err := s.probe(ctx, probeLimit); err != nil && s.shellAnswers() { // it may have been closed meanwhile
		return &failure{reason: StartTimeout, detail: fmt.Sprintf("the shell's port does not answer: %v", err)}
	}
	return nil
}

// awaitHandshake waits for the agent's WireGuard. While nothing is heard of it, people are told
// what that may mean long before the attempt is given up.
func (s *session) awaitHandshake(ctx context.Context, key wgtypes.Key) *failure {
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	after := s.manager.config.after
	defer after(s.id, stepTimeout, cancel)()
	defer after(s.id, unheard, s.suspect)()
	err := s.link.Handshake(limited, key)
	for errors.Is(err, wg.ErrNoPeer) && limited.Err() == nil { // who takes a peer away ends its tunnel too, or it is put back
		wait(limited, lookAgain)
		err = s.link.Handshake(limited, key)
	}
	s.settleSuspicion(err == nil)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, wg.ErrNoPeer):
		return &failure{reason: InternalError, detail: "its WireGuard peer was taken away"}
	case errors.Is(err, net.ErrClosed):
		<-limited.Done() // who closes the interface ends its tunnels, and says why
		return &failure{reason: InternalError, detail: "the WireGuard interface was lost"}
	}
	return &failure{reason: HandshakeTimeout, detail: fmt.Sprintf("no WireGuard handshake: is UDP port %s open on the way to the engine?", s.endpoint)}
}

// suspect tells people that nothing is heard of the agent's WireGuard.
func (s *session) suspect() {
	_, port, _ := splitHostPort(s.endpoint)
	s.mu.Lock()
	news := !s.heard
	if news {
		s.steps[len(s.steps)-1].Detail = fmt.Sprintf("no WireGuard handshake for %.0f s: UDP port %s seems to be blocked between the device and this engine", unheard.Seconds(), port)
	}
	s.mu.Unlock()
	if news {
		s.note("unheard")
		s.manager.watch.tell(s.device.ID)
	}
}

// settleSuspicion ends the wait in which suspect may speak, and takes back what it said when the
// agent was heard after all.
func (s *session) settleSuspicion(wasHeard bool) {
	s.mu.Lock()
	s.heard = true
	last := &s.steps[len(s.steps)-1]
	said := wasHeard && last.Detail != ""
	if said {
		last.Detail = ""
	}
	s.mu.Unlock()
	if said {
		s.manager.watch.tell(s.device.ID)
	}
}

// probe opens and closes a connection to the shell's port.
func (s *session) probe(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := s.dialTCP(ctx, wire.ShellPort)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.spoke = acl.Contains(s.ports, acl.TCP, wire.ShellPort)
	s.mu.Unlock()
	return c.Close()
}

// recordUp writes down that the tunnel is up, or leaves that for later.
func (s *session) recordUp(ctx context.Context, at time.Time) {
	m := s.manager
	m.log.InfoContext(ctx, "tunnel_up", "tunnel", s.id, "agent", s.device.ID, "operator", s.requester.Operator, "addr", s.vip)
	steps := append(s.timeline(), store.Step{Name: string(Up), At: at})
	did := store.Record{At: at, DeviceID: s.device.ID, TunnelID: s.id, Kind: "tunnel_up", Detail: s.vip.String()}.By(s.requester.Actor())
	m.recorder.settle(ctx, &entry{
		kind: did.Kind, device: s.device.ID, tunnel: s.id, must: true,
		write: func(ctx context.Context) error {
			if err := m.config.Store.SaveTunnel(ctx, s.id, string(Up), at, steps); err != nil {
				return err
			}
			return m.config.Store.AddRecord(ctx, did)
		},
	})
}
