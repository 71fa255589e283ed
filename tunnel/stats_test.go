package tunnel

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/tunnel/wg"
)

// TestStats counts what a device with a tunnel and a terminal is, and what is left of it.
func TestStats(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	steps, ends, echoes := map[State]int{}, map[Reason]int{}, 0
	r := newRig(t, func(c *Config) {
		c.Observe = Observer{
			Step:  func(s State, _ time.Duration) { mu.Lock(); steps[s]++; mu.Unlock() },
			Ended: func(r Reason, _ time.Duration) { mu.Lock(); ends[r]++; mu.Unlock() },
			Echo:  func(time.Duration) { mu.Lock(); echoes++; mu.Unlock() },
		}
	})
	if st := r.Stats(); st.Agents != 0 || len(st.Tunnels) != 0 || !st.LinkUp || !st.FirewallOK || st.ReceivedBytes != 0 {
		t.Errorf("of nothing: %+v", st)
	}
	h := r.join(t)
	nora := holder("nora")
	id := r.up(t, h, nora).TunnelID
	terminal, _, err := r.Terminal(t.Context(), nora, TerminalRequest{TunnelID: id})
	if err != nil {
		t.Fatal(err)
	}
	view := terminal.View(0)
	defer view.Close()
	if _, err := terminal.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	for heard := func() bool { mu.Lock(); defer mu.Unlock(); return echoes > 0 }; !heard(); {
		_, offset, err := view.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		view.Ack(offset)
	}
	st := r.Stats()
	if st.Agents != 1 || st.Tunnels[Up] != 1 || len(st.Tunnels) != 1 || st.Terminals != 1 || st.Holders != 1 || st.Unrecorded != 0 {
		t.Errorf("of one tunnel: %+v", st)
	}
	if len(st.HandshakeAge) != 1 || st.HandshakeAge[0] > time.Minute || st.ReceivedBytes == 0 || st.SentBytes == 0 {
		t.Errorf("of one tunnel's peer: %+v", st)
	}
	last, err := r.Disconnect(t.Context(), id, nora, false)
	if err != nil {
		t.Fatal(err)
	}
	after := r.Stats()
	if len(after.Tunnels) != 0 || after.Terminals != 0 || after.Holders != 0 || len(after.HandshakeAge) != 0 || after.Agents != 1 {
		t.Errorf("after the tunnel: %+v", after)
	}
	if after.ReceivedBytes < last.ReceivedBytes || after.ReceivedBytes < st.ReceivedBytes || after.SentBytes < st.SentBytes {
		t.Errorf("the tunnel ended with %d bytes received and %d sent, of which %d and %d are left", last.ReceivedBytes, last.SentBytes, after.ReceivedBytes, after.SentBytes)
	}
	r.up(t, h, nora)
	if again := r.Stats(); again.ReceivedBytes <= after.ReceivedBytes || again.SentBytes <= after.SentBytes {
		t.Errorf("the next tunnel adds nothing to %+v: %+v", after, again)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, s := range []State{Offered, Ready, Peered, Up} {
		if steps[s] != 2 {
			t.Errorf("the observer was told %d times of %s", steps[s], s)
		}
	}
	if ends[OperatorDisconnect] != 1 || len(ends) != 1 {
		t.Errorf("the observer was told of the ends %v", ends)
	}
}

// TestTrafficOnlyGrows: readings that come late, or are lost, take nothing away, and nothing is
// counted twice.
func TestTrafficOnlyGrows(t *testing.T) {
	t.Parallel()
	var all traffic
	var c carried
	reading := func(n int64) wg.PeerState { return wg.PeerState{ReceivedBytes: n, SentBytes: 2 * n} }
	for i, step := range []struct {
		do   func()
		want int64
	}{
		{func() { c.see(&all, reading(100)) }, 100},
		{func() { c.see(&all, reading(90)) }, 100},
		{func() { c.see(&all, reading(110)) }, 110},
		{func() { c.see(&all, wg.PeerState{}) }, 110}, // its interface is gone
		{func() { c.last(&all, reading(130)) }, 130},
		{func() { c.see(&all, reading(150)) }, 130}, // a look that began before the end
		{func() { new(carried).last(&all, reading(5)) }, 135},
	} {
		step.do()
		if got := all.received.Load(); got != step.want || all.sent.Load() != 2*step.want {
			t.Errorf("step %d: %d received and %d sent, want %d and twice that", i, got, all.sent.Load(), step.want)
		}
	}
}

// TestResponds: a manager whose lock is not given back is noticed, and in the time that was given.
func TestResponds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if err := r.Responds(t.Context()); err != nil {
		t.Errorf("a manager at rest: %v", err)
	}
	r.Manager.mu.Lock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := r.Responds(ctx)
	r.Manager.mu.Unlock()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a manager that is stuck: %v", err)
	}
	if err := r.Responds(t.Context()); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// TestReasonsAreAll compares [Reasons] with the constants.
func TestReasonsAreAll(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []Reason
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		if kind, ok := v.Type.(*ast.Ident); ok && kind.Name == "Reason" {
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Error(err)
			}
			declared = append(declared, Reason(text))
		}
		return true
	})
	if len(declared) < 10 || !slices.Equal(declared, Reasons()) {
		t.Errorf("there are the constants %v and the reasons %v", declared, Reasons())
	}
}

// BenchmarkStats is one count of a thousand tunnels with as many peers.
func BenchmarkStats(b *testing.B) {
	const many = 1000
	m := &Manager{devices: make(map[string]*device), recorder: &recorder{}}
	private, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		b.Fatal(err)
	}
	m.engineIP, err = engineAddress(Config{}.filled().Pool)
	if err != nil {
		b.Fatal(err)
	}
	link, err := wg.Open(b.Context(), wg.Config{Mode: wg.Netstack, Name: "borealis0", PrivateKey: private, Address: m.engineIP, Route: Config{}.filled().Pool})
	if err != nil {
		b.Fatal(err)
	}
	defer link.Close()
	m.link.wg = link
	ip := m.engineIP
	for i := range many {
		ip = ip.Next()
		key := wgtypes.Key{1, byte(i), byte(i >> 8)}
		if err := link.AddPeer(wg.Peer{PublicKey: key, AllowedIP: ip}); err != nil {
			b.Fatal(err)
		}
		m.devices[strconv.Itoa(i)] = &device{session: &session{manager: m, state: Up, agentKey: key, link: link}}
	}
	for b.Loop() {
		if st := m.Stats(); st.Tunnels[Up] != many {
			b.Fatalf("%+v", st)
		}
	}
}
