package tunnel

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"pgregory.net/rapid"

	"borealis/acl"
	"borealis/store"
)

// check compares the manager with the reference.
func (m *machine) check(t *rapid.T) {
	m.awaitEnds(t)
	live, peers := make(map[string]string), make(map[wgtypes.Key]bool)
	ports := make(map[netip.Addr][]acl.Port)
	for i, d := range m.ref.devices {
		a := m.agents[i]
		if errs := a.failures(); errs != nil {
			t.Fatal(errs)
		}
		if _, online := m.w.manager.Online(a.device.ID); online != d.online {
			t.Fatalf("online: %v, want %v", online, d.online)
		}
		if d.tunnel == nil {
			continue
		}
		live[d.tunnel.id] = d.tunnel.String()
		if d.tunnel.state != Offered {
			peers[a.public()] = true
			ports[netip.MustParseAddr(m.w.leased[a.device.ID])] = d.ports()
		}
	}
	m.checkTunnels(t, live)
	m.checkLink(t, peers, ports)
	m.checkRows(t, live)
}

// awaitEnds waits until what must end has ended.
func (m *machine) awaitEnds(t *rapid.T) {
	for _, d := range m.ref.devices {
		for _, past := range d.past {
			if s := m.w.manager.session(past.id); s != nil {
				limit := time.NewTimer(patience)
				select {
				case <-s.ended:
				case <-limit.C:
					t.Fatalf("the tunnel does not end: %+v", m.w.manager.statusOf(s))
				}
				limit.Stop()
			}
		}
	}
}

func (m *machine) checkTunnels(t *rapid.T, want map[string]string) {
	got := make(map[string]string)
	for _, st := range m.w.manager.Tunnels() {
		var who []string
		for _, o := range st.Operators {
			who = append(who, o.Name+" "+o.Kind)
		}
		slices.Sort(who)
		detail := ""
		if slices.ContainsFunc(st.Timeline, func(step store.Step) bool { return step.Detail != "" }) {
			detail = " with a hint"
		}
		got[st.TunnelID] = fmt.Sprint(st.State, who, detail)
	}
	if !maps.Equal(got, want) {
		t.Fatalf("tunnels %v, want %v", got, want)
	}
}

func (m *machine) checkLink(t *rapid.T, peers map[wgtypes.Key]bool, ports map[netip.Addr][]acl.Port) {
	manager := m.w.manager
	manager.mu.Lock()
	link := manager.link.wg
	manager.mu.Unlock()
	have, err := link.Peers()
	must(t, "read the peers", err)
	for _, p := range have {
		if !peers[p.PublicKey] {
			t.Fatalf("peer %s has no tunnel", p.PublicKey)
		}
	}
	if len(have) != len(peers) {
		t.Fatalf("%d peers, want %d", len(have), len(peers))
	}
	manager.plan.turn <- struct{}{}
	plan := maps.Clone(manager.plan.plan)
	<-manager.plan.turn
	if !maps.EqualFunc(plan, ports, slices.Equal) {
		t.Fatalf("open are %v, want %v", plan, ports)
	}
}

// checkRows compares the store with what lives. While the trail is broken, ends wait for it.
func (m *machine) checkRows(t *rapid.T, live map[string]string) {
	open, err := m.w.store.OpenTunnels(context.Background())
	must(t, "read the rows", err)
	for id := range live {
		if _, ok := open[id]; !ok {
			t.Fatalf("tunnel %s is not stored as open", id)
		}
	}
	if !m.ref.broken && len(open) != len(live) {
		t.Fatalf("stored as open are %v, want %v", open, live)
	}
}

// checkEnded checks that a tunnel ended once, for one reason, and that everything is on record.
func (m *machine) checkEnded(t *rapid.T, r *refTunnel) {
	row, err := m.w.store.Tunnel(context.Background(), r.id)
	must(t, "read a row", err)
	if row.State != string(Ended) || row.EndedAt.IsZero() || !slices.Contains(r.reasons, Reason(row.Reason)) {
		t.Fatalf("stored as %s because of %s, want one of %v", row.State, row.Reason, r.reasons)
	}
	lines, err := m.w.store.Records(context.Background(), store.RecordQuery{TunnelID: r.id, Scope: store.Scope{All: true}, Limit: store.MaxPage})
	must(t, "read the records", err)
	var got []string
	count := make(map[string]int)
	for _, l := range lines {
		if l.Result == store.Done && l.Kind != "ports_mismatch" { // what a proof saw while the rules were away
			got = append(got, l.Kind+"|"+l.Actor+"|"+l.Reason)
			count[l.Kind]++
		}
		if l.Kind == "tunnel_down" && l.Reason != row.Reason {
			t.Fatalf("on record is %s, stored is %s", l.Reason, row.Reason)
		}
	}
	if count["tunnel_requested"] != 1 || count["tunnel_down"] != 1 {
		t.Fatalf("requested %d times and ended %d times", count["tunnel_requested"], count["tunnel_down"])
	}
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(r.log)); !r.anyOrder && !slices.Equal(got, want) {
		t.Fatalf("on record\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
