package tunnel

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"pgregory.net/rapid"

	"borealis/acl"
	"borealis/agent/wire"
	"borealis/store"
)

func (m *machine) connect(t *rapid.T) {
	a, d := m.pick(t, anyDevice)
	h, o := m.holder(t), ConnectOptions{New: rapid.IntRange(0, 4).Draw(t, "new") == 4}
	how := rapid.SampledFrom([]string{"up", "up", "up", "mute", "deaf"}).Draw(t, "agent")
	a.answers, a.shakes = how != "mute", how == "up"
	st, err := m.w.manager.Connect(context.Background(), a.device.ID, h, o)
	if want := m.ref.refuses(d, h, o); want != nil || err != nil {
		if want == nil || !errors.Is(err, want) {
			t.Fatalf("connect: %v, want %v", err, want)
		}
		return
	}
	if st.Joined != (d.tunnel != nil) {
		t.Fatalf("joined: %v", st.Joined)
	}
	if st.Joined {
		d.tunnel.join(h)
		return
	}
	d.request(st.TunnelID, h)
	m.lease(t, a, st.VirtualIP)
	m.arrive(t, a, d)
}

// connectAtOnce has everybody connect at the same time.
func (m *machine) connectAtOnce(t *rapid.T) {
	a, d := m.pick(t, func(d *refDevice) bool { return m.ref.refuses(d, Holder{}, ConnectOptions{}) == nil })
	a.answers, a.shakes = true, true
	var (
		work sync.WaitGroup
		mu   sync.Mutex
		made []Holder
		ids  = make(map[string]bool)
		errs []error
		all  []Holder
	)
	for _, name := range []string{"nora", "jon", "ada"} {
		h := holder(name)
		all = append(all, h)
		work.Go(func() {
			st, err := m.w.manager.Connect(context.Background(), a.device.ID, h, ConnectOptions{})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			if ids[st.TunnelID] = true; !st.Joined {
				made = append(made, h)
			}
		})
	}
	work.Wait()
	must(t, "connect at once", errors.Join(errs...))
	if d.tunnel == nil {
		if len(made) != 1 || len(ids) != 1 {
			t.Fatalf("%d tunnels, made by %v", len(ids), made)
		}
		d.request(slices.Collect(maps.Keys(ids))[0], made[0])
		m.lease(t, a, m.w.manager.session(a.device.ID).vip)
		for _, h := range all {
			d.tunnel.join(h)
		}
		m.arrive(t, a, d)
		return
	}
	if len(made) != 0 || len(ids) != 1 || !ids[d.tunnel.id] {
		t.Fatalf("there was tunnel %s; now there are %v", d.tunnel.id, ids)
	}
	for _, h := range all {
		d.tunnel.join(h)
	}
}

// lease checks that an address is the device's for good, and nobody else's.
func (m *machine) lease(t *rapid.T, a *modelAgent, vip netip.Addr) {
	if owner := m.w.leased[vip.String()]; owner != "" && owner != a.device.ID {
		t.Fatalf("%s was given to %s and to %s", vip, owner, a.device.ID)
	}
	if had := m.w.leased[a.device.ID]; had != "" && had != vip.String() {
		t.Fatalf("%s had %s and has %s", a.device.ID, had, vip)
	}
	m.w.leased[vip.String()], m.w.leased[a.device.ID] = a.device.ID, vip.String()
}

func (m *machine) toggle(t *rapid.T) {
	if m.ref.broken {
		t.Skip("cannot be recorded")
	}
	a, d := m.pick(t, anyDevice)
	must(t, "set the ports", m.setPort(a, d))
	if d.tunnel != nil {
		d.tunnel.note("ports_changed", "ada", "")
	}
}

var modelPort = acl.Port{Protocol: acl.TCP, From: 9000, To: 9000}

func (m *machine) disconnect(t *rapid.T) {
	a, d := m.pick(t, anyDevice)
	h, force := m.holder(t), rapid.IntRange(0, 3).Draw(t, "force") == 0
	_, err := m.w.manager.Disconnect(context.Background(), a.device.ID, h, force)
	switch {
	case d.tunnel == nil:
		if !errors.Is(err, ErrNotConnected) {
			t.Fatalf("disconnect: %v", err)
		}
		return
	case force:
		d.end(h.Operator, OperatorForceStop)
	default:
		d.leave(OperatorDisconnect, func(o Holder) bool { return o.OperatorID == h.OperatorID })
	}
	must(t, "disconnect", err)
}

// tabClosed lets the time be over in which the page of a tab may come back.
func (m *machine) tabClosed(t *rapid.T) {
	_, d := m.pick(t, func(d *refDevice) bool {
		return d.tunnel != nil && slices.ContainsFunc(slices.Collect(maps.Values(d.tunnel.holders)), func(h Holder) bool { return h.Tab != "" })
	})
	var tabs []string
	for _, h := range d.tunnel.holders {
		if h.Tab != "" {
			tabs = append(tabs, h.Tab)
		}
	}
	slices.Sort(tabs)
	tab := rapid.SampledFrom(tabs).Draw(t, "tab")
	m.w.manager.releaseTab(tab)
	for _, d := range m.ref.devices {
		d.leave(OperatorLeft, func(h Holder) bool { return h.Tab == tab })
	}
}

// fire makes the timer fire, unless it is over.
func (t *idleTimer) fire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer.Stop() {
		t.timer.Reset(0)
	}
}

func (m *machine) idle(t *rapid.T) {
	_, d := m.pick(t, hasTunnel)
	m.w.manager.session(d.tunnel.id).idle.fire()
	d.end("", IdleTimeout)
}

func (m *machine) tooLong(t *rapid.T) {
	_, d := m.pick(t, func(d *refDevice) bool { return in(Up)(d) && !d.tunnel.away })
	must(t, "time out", m.w.expire(d.tunnel.id, DefaultMaxDuration))
	d.end("", MaxDuration)
}

// raceOfEnds has several ends come at the same time: one of them is why.
func (m *machine) raceOfEnds(t *rapid.T) {
	a, d := m.pick(t, hasTunnel)
	id, by := d.tunnel.id, d.tunnel.anyHolder()
	ends := map[Reason]func(){
		IdleTimeout:        m.w.manager.session(id).idle.fire,
		OperatorForceStop:  func() { _, _ = m.w.manager.Disconnect(context.Background(), id, by, true) },
		OperatorDisconnect: func() { _, _ = m.w.manager.Disconnect(context.Background(), id, by, false) },
		DeviceLocked: func() {
			m.w.manager.Evict(context.Background(), func(d store.Device, _ Holder) Reason { return DeviceLocked.when(d.ID == a.device.ID) })
		},
	}
	if d.online {
		c := a.channel
		ends[AgentShutdown] = func() {
			_ = c.Receive(context.Background(), wire.FromAgent{Stopped: &wire.Stopped{Tunnel: id, Reason: wire.AgentShutdown}})
		}
	}
	races := [][]Reason{
		{IdleTimeout, OperatorForceStop},
		{IdleTimeout, OperatorDisconnect, OperatorForceStop},
		{DeviceLocked, IdleTimeout},
		{OperatorForceStop, OperatorDisconnect, DeviceLocked, IdleTimeout},
		{AgentShutdown, OperatorForceStop, IdleTimeout},
	}
	which := rapid.SampledFrom(races).Draw(t, "ends")
	var work sync.WaitGroup
	for _, r := range which {
		if end := ends[r]; end != nil {
			work.Go(end)
		}
	}
	work.Wait()
	d.end("", which...)
}
