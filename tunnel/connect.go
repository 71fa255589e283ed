package tunnel

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/google/uuid"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/acl"
	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/keys"
	"borealis/tunnel/token"
	"borealis/tunnel/wg"
)

// ConnectOptions changes what [Manager.Connect] does.
type ConnectOptions struct {
	New bool // refuse with ErrActive instead of joining a tunnel that is there
}

// Connect attaches a holder to the device's tunnel, which is made when there is
// none. It returns as soon as the agent was offered the tunnel; [Manager.WaitUp]
// waits for the rest. Errors are the ones named Err….
func (m *Manager) Connect(ctx context.Context, deviceID string, h Holder, o ConnectOptions) (Status, error) {
	d, err := m.lookUp(ctx, deviceID)
	if err != nil {
		return Status{}, err
	}
	switch d.State {
	case "active":
	case "pending":
		return Status{}, ErrPending
	default:
		return Status{}, ErrRevoked
	}
	if err := m.unlocked(ctx, d); err != nil {
		return Status{}, err
	}
	m.mu.Lock()
	turn := m.deviceLocked(d.ID).connecting
	m.mu.Unlock()
	select { // one at a time makes a tunnel, the others join it
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return Status{}, ctx.Err()
	}
	s, err := m.join(ctx, d.ID, h, o)
	if err != nil {
		return Status{}, err
	}
	joined := s != nil
	if !joined {
		if s, err = m.request(ctx, d, h); err != nil {
			return Status{}, err
		}
	}
	st := m.statusOf(s)
	st.Token, st.Joined = s.token, joined
	return st, nil
}

// join attaches the holder to a tunnel that is there. It waits for one that is
// closing, and returns nil when there is none to join.
func (m *Manager) join(ctx context.Context, deviceID string, h Holder, o ConnectOptions) (*session, error) {
	for {
		s := m.session(deviceID)
		if s == nil {
			return nil, nil
		}
		if o.New && !s.closing() {
			return nil, &ActiveError{TunnelID: s.id}
		}
		if ok, err := m.attach(ctx, s, h, holderKind(h)); ok || err != nil {
			return s, err
		}
		select {
		case <-s.ended:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// request makes a tunnel: address, keys, token, one transaction, and the offer.
func (m *Manager) request(ctx context.Context, d store.Device, h Holder) (*session, error) {
	c := m.channel(d.ID)
	if c == nil {
		return nil, &OfflineError{LastSeen: d.LastSeen}
	}
	if err := m.recordable(); err != nil {
		return nil, err
	}
	release, err := m.takePorts(ctx, d.ID) // a change of the ports comes before or after, not between
	if err != nil {
		return nil, err
	}
	defer release()
	s, err := m.prepare(ctx, d, h, c)
	if err != nil {
		return nil, err
	}
	row := store.Tunnel{
		ID: s.id, DeviceID: d.ID, Operator: h.Operator, TokenID: s.tokenID, VirtualIP: s.vip,
		State: string(Requested), RequestedAt: s.requestedAt, Steps: s.timeline(),
	}
	did := store.Record{At: s.requestedAt, DeviceID: d.ID, TunnelID: s.id, Kind: "tunnel_requested"}.By(h.Actor())
	if err := m.config.Store.AddTunnel(ctx, row, s.requestedAt.Add(token.Lifetime), did); err != nil {
		did.TunnelID = "" // there is none
		if errors.Is(err, store.ErrConflict) {
			return nil, fmt.Errorf("%w: the end of the device's last tunnel is not on record yet, try again in a moment", ErrUnavailable)
		}
		return nil, m.unrecorded(ctx, did, err)
	}
	m.log.InfoContext(ctx, "tunnel_requested", "tunnel", s.id, "agent", d.ID, "operator", h.Operator)
	return s, m.start(ctx, s, c, h)
}

// prepare makes a session and signs its token. Nothing has happened yet.
func (m *Manager) prepare(ctx context.Context, d store.Device, h Holder, c *Channel) (*session, error) {
	link, err := m.openLink()
	if err != nil {
		return nil, err
	}
	endpoint, err := m.endpoint(c.hello.Dialled, link.ListenPort())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	policy, err := m.policy(ctx, d)
	if err != nil {
		return nil, err
	}
	vip, err := m.config.Store.Lease(ctx, d.ID, m.config.Pool)
	if errors.Is(err, store.ErrPoolExhausted) {
		return nil, ErrPoolExhausted
	} else if err != nil {
		return nil, fmt.Errorf("lease an address: %w", err)
	}
	s, shell, err := m.newSession(d, h, c)
	if err != nil {
		return nil, err
	}
	s.link, s.endpoint, s.vip = link, endpoint, vip
	s.policy, s.ports = policy, policy.Allowed(time.Now())
	return s, s.signToken(shell)
}

// newSession makes a session with fresh keys, and returns the public half of the one
// for shells.
func (m *Manager) newSession(d store.Device, h Holder, c *Channel) (*session, ed25519.PublicKey, error) {
	psk, err := wgtypes.GenerateKey()
	if err != nil {
		return nil, nil, fmt.Errorf("make a preshared key: %w", err)
	}
	shellPublic, shellKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a shell key: %w", err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, nil, fmt.Errorf("make a tunnel id: %w", err)
	}
	s := &session{
		manager: m, id: id.String(), device: d, requester: h, nonce: c.hello.Nonce, identity: c.identity.Pin(),
		psk: psk, shellKey: shellKey, tokenID: rand.Text(), requestedAt: time.Now(),
		answers: make(chan answer, 1), gone: make(chan struct{}, 1), back: make(chan struct{}, 1), ended: make(chan struct{}),
		state: Requested, changed: make(chan struct{}), told: make(chan struct{}), proofs: newProofs(), changing: m.turnOf(d.ID),
		holders: make(map[holderKey]*attachment), terminals: make(map[string]*liveTerminal), flows: make(map[*flow]struct{}),
		joining: make(chan struct{}, 1),
	}
	s.holders[h.key()] = &attachment{holder: h, since: s.requestedAt, kind: holderKind(h)}
	s.steps = []store.Step{{Name: string(Requested), At: s.requestedAt}}
	return s, shellPublic, nil
}

// signToken signs the permission that the agent is offered.
func (s *session) signToken(shell ed25519.PublicKey) error {
	c := &s.manager.config
	pin, err := keys.ParsePin(s.device.Pin)
	if err != nil {
		return fmt.Errorf("read the device's pin: %w", err)
	}
	id, key := c.Keys.TokenSigner()
	s.token, err = token.Sign(key, id, token.Claims{
		Engine: s.identity, Agent: pin, Tunnel: s.id, ID: s.tokenID, Nonce: s.nonce,
		IssuedAt: s.requestedAt, ServerKey: s.link.PublicKey(), Endpoint: s.endpoint, VirtualIP: s.vip, EngineIP: s.manager.engineIP,
		Ports: tokenPorts(s.ports), Idle: c.Idle, ShellKey: shell,
	})
	if err != nil {
		return fmt.Errorf("sign the token: %w", err)
	}
	return nil
}

// start makes a recorded session live: from here on its own goroutine has it.
func (m *Manager) start(ctx context.Context, s *session, c *Channel, h Holder) error {
	m.mu.Lock()
	if r, refused := m.refusalLocked(s); refused != nil {
		m.mu.Unlock()
		m.recorder.settle(context.WithoutCancel(ctx), s.ending(failure{reason: r}, wg.PeerState{}))
		return refused
	}
	life, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	s.cancel, s.dying = cancel, life.Done()
	s.cause = func() error { return context.Cause(life) }
	s.idle = newIdleTimer(m.config.Idle, func() { s.end(IdleTimeout) })
	m.deviceLocked(s.device.ID).session = s
	m.beginLocked()
	m.work.Add(1)
	m.mu.Unlock()

	m.pages.expect(h.Tab, m.releaseTab)
	m.watch.tell(s.device.ID)
	offer := wire.Start{Tunnel: s.id, Token: s.token, PresharedKey: s.psk.String()}
	if c.send(wire.FromEngine{Start: &offer}) {
		s.step(Offered, "")
	} else {
		s.end(AgentLost)
	}
	go func() {
		defer m.work.Done()
		s.run(life)
	}()
	return nil
}

// refusalLocked is why a tunnel that was recorded may not begin after all.
func (m *Manager) refusalLocked(s *session) (Reason, error) {
	switch {
	case m.closing:
		return EngineShutdown, fmt.Errorf("%w: the engine is stopping", ErrUnavailable)
	case m.link.lost != nil:
		return FirewallLost, m.link.lost
	case m.link.wg != s.link:
		return InternalError, fmt.Errorf("%w: the WireGuard interface is being opened again", ErrUnavailable)
	}
	return "", nil
}

func tokenPorts(ports []acl.Port) []token.Port {
	out := make([]token.Port, len(ports))
	for i, p := range ports {
		out[i] = token.Port{Protocol: p.Protocol, From: p.From, To: p.To}
	}
	return out
}

// splitHostPort splits HOST:PORT; ok is false when s is not of that form.
func splitHostPort(s string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(s)
	return host, port, err == nil && port != ""
}

func joinHostPort(host, port string) string { return net.JoinHostPort(host, port) }
