package tunnel

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"borealis/store"
)

// TestFightIsToldSeldom repairs what another program does not stop to change.
func TestFightIsToldSeldom(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	told := make(map[string]int)
	r := newRig(t, func(c *Config) {
		c.Observe.Repaired = func(what string) { mu.Lock(); defer mu.Unlock(); told[what]++ }
	})
	i, err := r.openLink()
	if err != nil {
		t.Fatal(err)
	}
	p := newRepairer(r.Manager, i)
	defer p.timer.Stop()
	for range 30 {
		p.tell(t.Context(), []string{"The route was removed.", "Peer X was missing."})
	}
	repairs := r.records(t, store.RecordQuery{Kind: "link_repaired"})
	if len(repairs) != repairsTold || repairs[0].Detail != "The route was removed. Peer X was missing." {
		t.Errorf("%d on record, %+v", len(repairs), repairs)
	}
	if told["link"] != 30 || told["peer"] != 30 {
		t.Errorf("told %v", told)
	}
	p.talking.SetBurst(repairsTold + 1)
	p.talking.SetLimit(1e9)
	p.tell(t.Context(), []string{"The route was removed."})
	repairs = r.records(t, store.RecordQuery{Kind: "link_repaired"})
	if last := repairs[len(repairs)-1].Detail; !strings.Contains(last, "repaired 20 times before that") {
		t.Errorf("on record: %s", last)
	}
}

// TestPoolExhausted connects more devices than the pool has addresses.
func TestPoolExhausted(t *testing.T) {
	t.Parallel()
	pool := netip.MustParsePrefix("10.255.0.0/29")
	r := newRig(t, func(c *Config) { c.Pool = pool })
	const room = 5 // of eight: the network, the engine, and the broadcast have one each
	seen := make(map[netip.Addr]string)
	var hosts []*host
	for n := range room {
		h := r.join(t)
		hosts = append(hosts, h)
		st := r.up(t, h, holder("nora"))
		if other, twice := seen[st.VirtualIP]; twice || !pool.Contains(st.VirtualIP) || st.VirtualIP == r.engineIP {
			t.Errorf("device %d has %s, which is also of %q", n, st.VirtualIP, other)
		}
		seen[st.VirtualIP] = h.device.ID
	}
	late := r.join(t)
	refused := func() {
		t.Helper()
		if st, err := r.Connect(t.Context(), late.device.ID, holder("nora"), ConnectOptions{}); !errors.Is(err, ErrPoolExhausted) {
			t.Fatalf("%+v, %v; want %v", st, err, ErrPoolExhausted)
		}
	}
	refused()
	// An address stays with its device, so that it never means another one.
	first := hosts[0]
	was := r.session(first.device.ID).vip
	if _, err := r.Disconnect(t.Context(), first.device.ID, holder("nora"), false); err != nil {
		t.Fatal(err)
	}
	refused()
	if got := r.peers(t); got != room-1 {
		t.Errorf("%d peers", got)
	}
	if st := r.up(t, first, holder("nora")); st.VirtualIP != was {
		t.Errorf("the first device has %s now, not %s", st.VirtualIP, was)
	}
}
