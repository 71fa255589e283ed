package tunnel

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/acl"
	"borealis/store"
	"borealis/tunnel/wg"
)

// A Status is all that may be known of a tunnel. It holds no private key and no
// preshared key.
type Status struct {
	DeviceID string
	Site     string // of the device
	TunnelID string // empty when the device never had one
	State    State
	Reason   Reason // once it ended
	Detail   string // what people should know about the last step
	Operator string // who asked for it

	Joined bool   // the Connect that returned this found a tunnel that was there
	Token  string // only in what Connect returns

	VirtualIP       netip.Addr
	EngineIP        netip.Addr
	Endpoint        string
	ServerPublicKey string
	AgentPublicKey  string // empty until the agent answered
	AllowedPorts    []acl.Port
	Mode            wg.Mode

	Idle          time.Duration
	IdleRemaining time.Duration
	RequestedAt   time.Time
	UpAt          time.Time
	EndedAt       time.Time
	LastHandshake time.Time
	ReceivedBytes int64 // by the engine
	SentBytes     int64
	Operators     []Attached
	Timeline      []store.Step
}

// Up reports whether the tunnel works: proven by a handshake and the shell's answer.
func (s Status) Up() bool { return s.State == Up }

// Live reports whether the tunnel has begun and not ended.
func (s Status) Live() bool { return s.State != Down && s.State != Ended }

// Status tells how a device's tunnel is: the live one, else the last one.
func (m *Manager) Status(ctx context.Context, deviceID string) (Status, error) {
	if s := m.session(deviceID); s != nil && s.device.ID == deviceID {
		return m.statusOf(s), nil
	}
	d, err := m.lookUp(ctx, deviceID)
	if err != nil {
		return Status{}, err
	}
	policy, err := m.policy(ctx, d)
	if err != nil {
		return Status{}, err
	}
	st := Status{
		DeviceID: d.ID, Site: d.Site, State: Down, VirtualIP: d.VirtualIP, EngineIP: m.engineIP, Idle: m.config.Idle,
		AllowedPorts: policy.Allowed(time.Now()),
	}
	last, err := m.config.Store.Tunnels(ctx, d.ID, 1)
	if err != nil {
		return Status{}, fmt.Errorf("read the last tunnel: %w", err)
	}
	if len(last) == 1 {
		t := last[0]
		st.TunnelID, st.State, st.Reason, st.Operator = t.ID, Ended, Reason(t.Reason), t.Operator
		st.RequestedAt, st.UpAt, st.EndedAt = t.RequestedAt, t.UpAt, t.EndedAt
		st.ReceivedBytes, st.SentBytes, st.Timeline = t.ReceivedBytes, t.SentBytes, t.Steps
	}
	return st, nil
}

// statusOf reads a session that the manager holds.
func (m *Manager) statusOf(s *session) Status {
	s.mu.Lock()
	st := Status{
		DeviceID: s.device.ID, Site: s.device.Site, TunnelID: s.id, State: s.state, Reason: s.reason, Operator: s.requester.Operator,
		VirtualIP: s.vip, EngineIP: m.engineIP, Endpoint: s.endpoint, ServerPublicKey: s.link.PublicKey().String(),
		AllowedPorts: slices.Clone(s.ports), Mode: s.link.Mode(),
		Idle: m.config.Idle, IdleRemaining: s.idle.remaining(),
		RequestedAt: s.requestedAt, UpAt: s.upAt, EndedAt: s.endedAt, Timeline: slices.Clone(s.steps),
	}
	key, peer := s.agentKey, s.final
	for _, a := range s.holders {
		st.Operators = append(st.Operators, Attached{Name: a.holder.Operator, Since: a.since, Kind: a.kind})
	}
	s.mu.Unlock()
	if st.Live() && s.closing() { // though its step may not be taken yet
		st.State = Closing
	}
	if n := len(st.Timeline); n > 0 {
		st.Detail = st.Timeline[n-1].Detail
	}
	slices.SortFunc(st.Operators, func(a, b Attached) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Name, b.Name))
	})
	if key != (wgtypes.Key{}) {
		st.AgentPublicKey = key.String()
		if now, ok, err := s.link.Peer(key); err == nil && ok {
			peer = now
		}
	}
	st.LastHandshake, st.ReceivedBytes, st.SentBytes = peer.LastHandshake, peer.ReceivedBytes, peer.SentBytes
	return st
}

// WaitUp waits until a tunnel is up or has ended, and calls step for each step, the
// past ones first; step may be nil. When the tunnel ended, its [Reason] is the error.
func (m *Manager) WaitUp(ctx context.Context, tunnelID string, step func(store.Step)) (Status, error) {
	s := m.session(tunnelID)
	if s == nil {
		return Status{}, ErrNotConnected
	}
	for told := 0; ; {
		s.mu.Lock()
		steps, state, reason, changed := slices.Clone(s.steps), s.state, s.reason, s.changed
		s.mu.Unlock()
		for ; told < len(steps); told++ {
			if step != nil {
				step(steps[told])
			}
		}
		switch state {
		case Up:
			return m.statusOf(s), nil
		case Ended:
			return m.statusOf(s), reason
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return m.statusOf(s), ctx.Err()
		}
	}
}
