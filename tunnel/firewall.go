package tunnel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/acl/netfilter"
	"borealis/store"
	"borealis/tunnel/wg"
)

const (
	firewallEvents = 16          // that the keeper of the link may be behind
	restoreEvery   = time.Second // between looks whether a lost firewall is healthy
)

// Kinds of a [FirewallState], and of what refuses in a [Proof].
const (
	byIPTables = "iptables"
	byNone     = "none"
	byDialer   = "dialer"
)

// FirewallState is how the host's own firewall is.
type FirewallState struct {
	Kind       string    // "iptables", or "none" in netstack mode
	Err        error     // why it is not known to be right; nil = it is
	RepairedAt time.Time // when it was last mended; zero = never
	Detail     string    // what was wrong then, a sentence
}

// Firewall tells how the host's own firewall is.
func (m *Manager) Firewall() FirewallState {
	m.mu.Lock()
	state, l := m.repaired, m.link
	m.mu.Unlock()
	state.Kind = byNone
	switch {
	case l.firewall != nil:
		state.Kind, state.Err = byIPTables, l.firewall.Healthy()
		if l.lost != nil {
			state.Err = l.lost
		}
	case l.wg == nil && m.config.Link.Mode != wg.Netstack:
		state.Kind, state.Err = byIPTables, l.err
	}
	return state
}

// openFirewall opens the host's firewall where the wanted mode has one. When it
// cannot be used and the mode is open to choice, the link is to stay inside the
// process, and reason says why.
func (m *Manager) openFirewall(ctx context.Context, c *wg.Config, events chan netfilter.Event) (f *netfilter.Firewall, reason string, err error) {
	if c.Mode == wg.Netstack {
		return nil, "", nil
	}
	f, err = netfilter.Open(ctx, netfilter.Config{
		Interface: c.Name, Pool: c.Route, Owner: os.Geteuid(), HostUsers: m.config.HostUsers,
		Notify: func(e netfilter.Event) { deliver(events, e) },
	})
	switch {
	case err == nil:
		return f, "", nil
	case ctx.Err() != nil, c.Mode == wg.Kernel, c.Mode == wg.TUN, errors.Is(err, netfilter.ErrInUse):
		return nil, "", err // never without rules
	}
	c.Mode = wg.Netstack
	return nil, fmt.Sprintf("The engine could not %v. So WireGuard and its network stay inside the program.", err), nil
}

// deliver hands an event to the keeper of the link without waiting. When the keeper is
// far behind, news of a repair are dropped; that the firewall is lost takes their place.
func deliver(events chan netfilter.Event, e netfilter.Event) {
	if e.Kind == netfilter.Repaired {
		offer(events, e)
		return
	}
	for {
		select {
		case events <- e:
			return
		default:
		}
		select {
		case <-events:
		default:
		}
	}
}

func (m *Manager) closeFirewall(ctx context.Context, f *netfilter.Firewall) {
	if err := f.Close(); err != nil {
		m.log.WarnContext(ctx, "firewall_close", "err", err)
	}
}

// firewallEvent does what the state of the host's firewall asks for. It reports
// whether the firewall is lost.
func (m *Manager) firewallEvent(ctx context.Context, l link, e netfilter.Event) (lost bool) {
	switch e.Kind {
	case netfilter.Repaired:
		m.mu.Lock()
		m.repaired = FirewallState{RepairedAt: e.At, Detail: e.Detail}
		m.mu.Unlock()
		m.log.WarnContext(ctx, "firewall_repaired", "reason", e.Detail)
		m.record(store.Record{Kind: "firewall_repaired", Detail: bounded(e.Detail)})
		m.config.Observe.repaired("firewall")
		m.watch.tell("")
	case netfilter.Lost:
		m.loseFirewall(ctx, l, e)
	case netfilter.Restored: // looked at by restoreFirewall
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.link.lost != nil
}

// loseFirewall ends every tunnel, the peers first, rather than run open, and refuses
// new ones.
func (m *Manager) loseFirewall(ctx context.Context, l link, e netfilter.Event) {
	m.mu.Lock()
	m.link.lost = fmt.Errorf("%w: the rules of the host's packet filter do not hold, so no tunnel may be open: %w", ErrUnavailable, e.Err)
	live := m.sessionsLocked()
	m.mu.Unlock()
	m.log.ErrorContext(ctx, "firewall_lost", "reason", e.Detail, "err", e.Err)
	m.cut(ctx, l.wg, live)
	for _, s := range live {
		s.fail(FirewallLost, e.Detail)
	}
	m.record(store.Record{Kind: "firewall_lost", Detail: bounded(fmt.Sprintf("%s (%v)", e.Detail, e.Err))})
	m.watch.tell("")
}

// cut removes all peers in one step, and keeps their counters for the records.
func (m *Manager) cut(ctx context.Context, i *wg.Interface, live []*session) {
	states, err := i.Peers()
	if err == nil {
		err = i.SetPeers(nil)
	}
	if err != nil {
		m.log.WarnContext(ctx, "peers_remove_failed", "err", err) // each tunnel removes its own too
	}
	byKey := make(map[wgtypes.Key]wg.PeerState, len(states))
	for _, p := range states {
		byKey[p.PublicKey] = p
	}
	for _, s := range live {
		s.mu.Lock()
		s.final = byKey[s.agentKey]
		s.mu.Unlock()
	}
}

// restoreFirewall lets tunnels be made again when the lost firewall is healthy and
// has taken the plan. It reports whether it is still lost.
func (m *Manager) restoreFirewall(ctx context.Context, l link) (lost bool) {
	if l.firewall.Healthy() != nil || m.plan.refresh(ctx) != nil {
		return true
	}
	m.mu.Lock()
	m.link.lost = nil
	m.mu.Unlock()
	m.log.InfoContext(ctx, "firewall_restored")
	m.record(store.Record{Kind: "firewall_restored"})
	m.watch.tell("")
	return false
}
