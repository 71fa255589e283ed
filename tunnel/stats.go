package tunnel

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/tunnel/wg"
)

// lookEvery is the time between two looks whether the manager's lock is free.
const lookEvery = 10 * time.Millisecond

// Stats is how much there is of everything at one moment.
type Stats struct {
	Agents       int             // that are connected
	Tunnels      map[State]int   // that have not ended, by how far they are
	Terminals    int             // that are open
	Holders      int             // attachments of operators to tunnels
	Unrecorded   int             // records that wait for the audit trail
	LinkUp       bool            // tunnels can be made
	FirewallOK   bool            // the host's firewall is as it should be, or the mode has none
	HandshakeAge []time.Duration // of each tunnel that is up and whose peer has shaken hands, in no order
	// ReceivedBytes and SentBytes are what the engine received and sent in all tunnels since
	// it started, those that have ended too. They never become less.
	ReceivedBytes, SentBytes int64
}

// traffic is what has passed in all tunnels together. It only grows.
type traffic struct{ received, sent atomic.Int64 }

// carried is how much of what passed in one tunnel the traffic has in it.
type carried struct {
	mu             sync.Mutex
	received, sent int64
	over           bool // there will be no more
}

// see adds what came since the last look. One look may be a moment older than the one before, and
// counters are lost with an interface, so they can be less.
func (p *carried) see(all *traffic, now wg.PeerState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seeLocked(all, now)
}

func (p *carried) seeLocked(all *traffic, now wg.PeerState) {
	if p.over {
		return
	}
	all.received.Add(max(now.ReceivedBytes-p.received, 0))
	all.sent.Add(max(now.SentBytes-p.sent, 0))
	p.received, p.sent = max(p.received, now.ReceivedBytes), max(p.sent, now.SentBytes)
}

// last is see for a tunnel that has ended.
func (p *carried) last(all *traffic, final wg.PeerState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seeLocked(all, final)
	p.over = true
}

// Stats counts. It reads the whole interface once, which takes about 4 ms for a thousand
// tunnels, and holds nothing up meanwhile.
func (m *Manager) Stats() Stats {
	st := Stats{
		Tunnels: make(map[State]int), LinkUp: m.Link().Err == nil, FirewallOK: m.Firewall().Err == nil,
		Unrecorded: m.recorder.waiting(),
	}
	peers := m.peers()
	m.mu.Lock()
	live := m.sessionsLocked()
	for _, d := range m.devices {
		if d.channel != nil {
			st.Agents++
		}
	}
	m.mu.Unlock()
	now := time.Now()
	for _, s := range live {
		p, up := s.count(&st, peers)
		s.carried.see(&m.traffic, p)
		if up && !p.LastHandshake.IsZero() {
			st.HandshakeAge = append(st.HandshakeAge, max(now.Sub(p.LastHandshake), 0))
		}
	}
	st.ReceivedBytes, st.SentBytes = m.traffic.received.Load(), m.traffic.sent.Load()
	return st
}

// peers reads the interface. While there is none it has no peers.
func (m *Manager) peers() map[wgtypes.Key]wg.PeerState {
	i, err := m.openLink()
	if err != nil {
		return nil
	}
	all, err := i.Peers()
	if err != nil {
		return nil // it went away just now, and its tunnels with it
	}
	byKey := make(map[wgtypes.Key]wg.PeerState, len(all))
	for _, p := range all {
		byKey[p.PublicKey] = p
	}
	return byKey
}

// count adds a session to the counts. It returns its peer, zero when it has none, and whether the
// tunnel is up.
func (s *session) count(st *Stats, peers map[wgtypes.Key]wg.PeerState) (p wg.PeerState, up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.state
	if s.closing() { // though its step may not be taken yet
		state = Closing
	}
	st.Tunnels[state]++
	st.Holders += len(s.holders)
	for _, t := range s.terminals {
		if !over(t.Terminal) {
			st.Terminals++
		}
	}
	if s.agentKey == (wgtypes.Key{}) {
		return wg.PeerState{}, false
	}
	if p = s.final; p.PublicKey != s.agentKey {
		p = peers[s.agentKey]
	}
	return p, state == Up
}

// waiting is how many records wait to be written.
func (r *recorder) waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue)
}

// Responds returns nil once the manager's lock was free, which is nearly always at once, or an
// error when it was not before ctx ended: then the engine does nothing any more.
func (m *Manager) Responds(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for !m.mu.TryLock() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the tunnel manager is stuck: %w", ctx.Err())
		}
	}
	m.mu.Unlock()
	return nil
}

// lastCounters are those of the tunnel's peer when it was removed.
func (s *session) lastCounters() wg.PeerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.final
}

// Reasons returns every [Reason] that a tunnel may end for.
func Reasons() []Reason {
	return []Reason{
		OperatorDisconnect, OperatorLeft, OperatorForceStop, IdleTimeout, MaxDuration, AgentLost, AgentShutdown, AgentBusy,
		TokenRejected, LocalPolicy, StartTimeout, HandshakeTimeout, DeviceRevoked, DeviceLocked, OperatorLocked,
		EngineShutdown, EngineRestart, FirewallLost, InternalError,
	}
}
