package tunnel

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"pgregory.net/rapid"

	"borealis/acl"
	"borealis/acl/netfilter"
	"borealis/agent/wire"
	"borealis/store"
)

// storm does several things to one device at the same time. Which of them comes first is not
// known, so what became of the device is read afterwards; all that must always be true is.
func (m *machine) storm(t *rapid.T) {
	if m.ref.broken || m.ref.lost || m.ref.siteLocked {
		t.Skip("would be refused")
	}
	a, d := m.pick(t, func(d *refDevice) bool {
		return d.state == store.Active && !d.locked && d.online && (d.tunnel == nil || in(Up)(d))
	})
	a.answers, a.shakes = true, true
	all := m.stormActions(a, d)
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range all {
			if !yield(name) {
				return
			}
		}
	})
	which := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 2, 5, rapid.ID[string]).Draw(t, "at once")
	errs := make([]error, len(which))
	var work sync.WaitGroup
	for i, name := range which {
		work.Go(func() { errs[i] = all[name]() })
	}
	work.Wait()
	must(t, "at once", errors.Join(errs...))
	if slices.Contains(which, "firewall") {
		m.ref.lost = true
		for _, other := range m.ref.devices {
			if other != d {
				other.end("", FirewallLost)
			}
		}
	}
	m.calm(t, a)
	m.look(t, a, d)
}

// stormReasons are why a tunnel may end in a storm.
var stormReasons = []Reason{
	OperatorDisconnect, OperatorForceStop, OperatorLeft, IdleTimeout, OperatorLocked, AgentLost, AgentShutdown, FirewallLost,
}

// stormActions are what may come together, each at most once. They return what may not happen.
func (m *machine) stormActions(a *modelAgent, d *refDevice) map[string]func() error {
	ctx, manager, id := context.Background(), m.w.manager, a.device.ID
	connect := func(h Holder) func() error {
		return func() error {
			if _, err := manager.Connect(ctx, id, h, ConnectOptions{}); !errors.Is(err, ErrOffline) && !errors.Is(err, ErrUnavailable) {
				return err
			}
			return nil
		}
	}
	disconnect := func(h Holder, force bool) func() error {
		return func() error {
			if _, err := manager.Disconnect(ctx, id, h, force); !errors.Is(err, ErrNotConnected) {
				return err
			}
			return nil
		}
	}
	live := func(do func(*session)) func() error {
		return func() error {
			if s := manager.session(id); s != nil {
				do(s)
			}
			return nil
		}
	}
	c := a.channel
	return map[string]func() error{
		"connect nora":    connect(holder("nora")),
		"connect jon":     connect(holder("jon")),
		"disconnect nora": disconnect(holder("nora"), false),
		"disconnect jon":  disconnect(holder("jon"), false),
		"force":           disconnect(holder("ada"), true),
		"idle":            live(idleNow),
		"evict": func() error {
			manager.Evict(ctx, func(of store.Device, h Holder) Reason {
				return OperatorLocked.when(of.ID == id && h.Operator == "nora")
			})
			return nil
		},
		"tab": live(func(s *session) {
			manager.release(s, func(h Holder) Reason { return OperatorLeft.when(h.Tab != "") })
		}),
		"toggle":  func() error { return m.setPort(a, d) },
		"flap":    func() error { a.leave(); return a.online(a.held()) },
		"compare": func() error { manager.compareSessions(ctx, time.Now().Add(time.Hour)); return nil },
		"firewall": func() error {
			manager.mu.Lock()
			l := manager.link
			manager.mu.Unlock()
			manager.firewallEvent(ctx, l, netfilter.Event{Kind: netfilter.Lost, Detail: "flushed", Err: errors.New("flushed")})
			return nil
		},
		"agent stops": live(func(s *session) {
			_ = c.Receive(ctx, wire.FromAgent{Stopped: &wire.Stopped{Tunnel: s.id, Reason: wire.AgentShutdown}})
		}),
	}
}

// idleNow makes a tunnel's idle timer fire until it counts: who joins meanwhile winds it up again.
func idleNow(s *session) {
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !s.closing() {
		s.idle.fire()
		select {
		case <-s.dying:
		case <-again.C:
		}
	}
}

// setPort opens the model's port, or closes it.
func (m *machine) setPort(a *modelAgent, d *refDevice) error {
	ctx := context.Background()
	now, err := m.w.manager.Ports(ctx, a.device.ID)
	if err != nil {
		return err
	}
	wanted := nothingOpen()
	if !d.port {
		wanted = append(wanted, acl.Override{Port: modelPort, Label: "model", Allowed: true})
	}
	d.port = !d.port
	_, err = m.w.manager.SetPorts(ctx, a.device.ID, now.Policy.Revision, wanted, store.Actor{Name: "ada"})
	return err
}

// held is the tunnel that the agent would tell the engine of.
func (a *modelAgent) held() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wg == nil {
		return ""
	}
	return a.offer.Tunnel
}

// calm waits until the device's tunnel is up to stay, or there is none.
func (m *machine) calm(t *rapid.T, a *modelAgent) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		s := m.w.manager.session(a.device.ID)
		if s == nil {
			return
		}
		st, err := m.w.manager.WaitUp(ctx, s.id, nil)
		if ctx.Err() != nil {
			t.Fatalf("it does not come to rest: %v; %+v", err, st)
		}
		if st.Up() {
			return
		}
		select {
		case <-s.ended:
		case <-ctx.Done():
			t.Fatalf("it does not end: %+v", st)
		}
	}
}

// look takes over into the reference what became of a device.
func (m *machine) look(t *rapid.T, a *modelAgent, d *refDevice) {
	known := make(map[string]bool)
	for _, past := range d.past {
		known[past.id] = true
	}
	rows, err := m.w.store.Tunnels(context.Background(), a.device.ID, store.MaxPage)
	must(t, "read the rows", err)
	s := m.w.manager.session(a.device.ID)
	d.tunnel = nil
	for _, row := range slices.Backward(rows) { // oldest first
		switch {
		case known[row.ID]:
		case s != nil && row.ID == s.id:
			d.tunnel = &refTunnel{id: s.id, state: Up, holders: make(map[holderKey]Holder), anyOrder: true}
			for _, one := range s.attached() {
				d.tunnel.holders[one.holder.key()] = one.holder
			}
			if len(d.tunnel.holders) == 0 {
				t.Fatal("a tunnel is up that nobody holds")
			}
			d.tunnel.note("tunnel_requested", row.Operator, "")
			m.lease(t, a, s.vip)
		default:
			d.past = append(d.past, &refTunnel{id: row.ID, state: Ended, reasons: stormReasons, anyOrder: true})
		}
	}
}
