package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/agent/gate"
	"borealis/agent/shell"
	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/keys"
	"borealis/tunnel/keys/seal"
	"borealis/tunnel/token"
	"borealis/tunnel/wg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A rig is a manager on a real store and a real WireGuard interface inside the process.
type rig struct {
	*Manager
	store *store.Store
	keys  *keys.Engine
	dir   string
}

// newRig opens a manager that the test closes at its end.
func newRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(t.Context(), dir+"/borealis.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	k, err := keys.OpenEngine(dir+"/Certificates", []string{"localhost"}, seal.New([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Store: s, Keys: k, Link: wg.Config{Mode: wg.Netstack, Name: "borealis0"}, PublicEndpoint: "127.0.0.1"}
	for _, f := range change {
		f(&c)
	}
	m, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return &rig{m, s, k, dir}
}

// holder is an operator at the API.
func holder(name string) Holder {
	return Holder{OperatorID: "id-" + name, Operator: name, Session: "session-" + name}
}

// device enrols a device with an identity of its own.
func (r *rig) device(t *testing.T, hostname string, change ...func(*store.Code)) (store.Device, *keys.Identity) {
	t.Helper()
	id, err := keys.NewIdentity(hostname)
	if err != nil {
		t.Fatal(err)
	}
	hash := [32]byte(id.Pin())
	now := time.Now()
	code := store.Code{Uses: 1, AutoApprove: true, CreatedBy: "test", CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
	for _, f := range change {
		f(&code)
	}
	if _, err := r.store.AddCode(t.Context(), hash, code, store.Record{}); err != nil {
		t.Fatal(err)
	}
	d, err := r.store.RedeemCode(t.Context(), hash, store.Device{Hostname: hostname, OS: "linux", Pin: id.Pin().String()}, now, store.Record{})
	if err != nil {
		t.Fatal(err)
	}
	return d, id
}

// A host is the device's side of the channel: it does what an agent does, and a test
// can make it misbehave.
type host struct {
	t        *testing.T
	rig      *rig
	device   store.Device
	identity *keys.Identity
	channel  *Channel
	done     chan struct{}

	// shown is the identity of the engine that the host sees; nil is its newest.
	shown *keys.Identity
	// ping answers for the host; nil is one that has gone as soon as another connects.
	ping func(context.Context) error
	// token changes the token that the host shows; nil shows the one it was offered.
	token func(offered string) string
	// mute makes the host ignore offers.
	mute bool
	// deaf makes the host not begin its handshake when it is admitted.
	deaf bool
	// quiet makes the host not say that it enforces a policy.
	quiet bool
	// answering makes the host enforce nothing and answer on this port too.
	answering uint16

	mu      sync.Mutex
	offers  []wire.Start
	stops   []wire.Stop
	policy  []token.Policy // that came, of all tunnels
	welcome wire.Welcome
	keys    []wire.Keys
	gate    *gate.Gate
	link    *wg.Interface
	claims  token.Claims
	psk     wgtypes.Key
	shell   context.CancelFunc
	serving sync.WaitGroup
}

// join brings a new device online. The test takes it offline at its end.
func (r *rig) join(t *testing.T, change ...func(*host)) *host {
	t.Helper()
	d, id := r.device(t, "PC-"+t.Name())
	h := &host{t: t, rig: r, device: d, identity: id}
	for _, f := range change {
		f(h)
	}
	h.online("")
	t.Cleanup(h.offline)
	return h
}

const testNonce = "nonce-of-this-connection"

// online connects the host's channel, holding a tunnel or none.
func (h *host) online(holding string) {
	h.t.Helper()
	if h.shown == nil {
		h.shown = h.rig.keys.Identity
	}
	if h.ping == nil {
		h.ping = func(context.Context) error { return errors.New("gone") }
	}
	hello := h.hello()
	hello.Tunnel = holding
	c, err := h.rig.Join(h.t.Context(), h.device, hello, "127.0.0.1", h.shown, h.ping)
	if err != nil {
		h.t.Fatal(err)
	}
	h.channel, h.done = c, make(chan struct{})
	go h.serve(c, h.done)
}

// hello is what the host says of itself.
func (h *host) hello() wire.Hello {
	return wire.Hello{
		Nonce: testNonce, Hostname: h.device.Hostname, OS: "linux", Link: "netstack", Dialled: "127.0.0.1:1", Machine: h.device.Machine,
	}
}

// offline drops the connection, keeps what the tunnel has, and closes it at last.
func (h *host) offline() {
	h.drop()
	h.closeTunnel()
}

// drop loses the connection, and nothing else.
func (h *host) drop() {
	h.channel.Leave()
	<-h.done
}

func (h *host) serve(c *Channel, done chan struct{}) {
	defer close(done)
	for msg := range c.Outgoing() {
		switch {
		case msg.Welcome != nil:
			h.mu.Lock()
			h.welcome = *msg.Welcome
			h.mu.Unlock()
		case msg.Keys != nil:
			h.mu.Lock()
			h.keys = append(h.keys, *msg.Keys)
			h.mu.Unlock()
		case msg.Start != nil:
			h.mu.Lock()
			h.offers = append(h.offers, *msg.Start)
			h.mu.Unlock()
			if !h.mute {
				h.start(c, *msg.Start)
			}
		case msg.Admit != nil:
			if !h.deaf {
				h.admit()
			}
		case msg.Policy != nil:
			h.enforce(c, *msg.Policy)
		case msg.Stop != nil:
			h.mu.Lock()
			h.stops = append(h.stops, *msg.Stop)
			h.mu.Unlock()
			h.closeTunnel()
		}
	}
}

func (h *host) start(c *Channel, offer wire.Start) {
	k, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		h.t.Error(err)
		return
	}
	want := token.Want{Engine: h.shown.Pin(), Agent: h.identity.Pin(), Nonce: testNonce, Tunnel: offer.Tunnel}
	claims, err := token.Check(offer.Token, h.rig.keys.TokenPublic(), want, time.Now())
	if err != nil {
		h.t.Errorf("the offered token: %v", err)
		return
	}
	psk, err := wgtypes.ParseKey(offer.PresharedKey)
	if err != nil {
		h.t.Error(err)
		return
	}
	i, err := wg.Open(context.Background(), wg.Config{Mode: wg.Netstack, Name: "host", PrivateKey: k, Address: claims.VirtualIP, Route: netip.PrefixFrom(claims.EngineIP, 32)})
	if err != nil {
		h.t.Error(err)
		return
	}
	l, err := h.listen(i, claims)
	if err != nil {
		h.t.Error(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	h.serving.Go(func() {
		_ = shell.Serve(ctx, l, shell.Config{HostKey: h.identity.Private(), Client: claims.ShellKey, Shell: "/bin/sh"})
	})
	h.mu.Lock()
	h.link, h.claims, h.psk, h.shell = i, claims, psk, stop
	h.mu.Unlock()
	shown := offer.Token
	if h.token != nil {
		shown = h.token(shown)
	}
	_ = c.Receive(ctx, wire.FromAgent{Ready: &wire.Ready{Tunnel: offer.Tunnel, Token: shown, WireGuardKey: k.PublicKey().String()}})
}

// listen puts a gate before the host's ports, as an agent does, and returns where the
// shell's connections come out. A host that misbehaves has none.
func (h *host) listen(i *wg.Interface, claims token.Claims) (net.Listener, error) {
	if h.answering != 0 {
		l, err := i.ListenTCP(netip.AddrPortFrom(claims.VirtualIP, h.answering))
		if err != nil {
			return nil, err
		}
		h.serving.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		})
		return i.ListenTCP(netip.AddrPortFrom(claims.VirtualIP, wire.ShellPort))
	}
	g := gate.New(gate.Config{Engine: claims.EngineIP, Ports: claims.Ports})
	h.mu.Lock()
	h.gate = g
	h.mu.Unlock()
	return g.Shell(), g.Guard(i)
}

// enforce takes a policy as an agent does.
func (h *host) enforce(c *Channel, m wire.Policy) {
	p, err := token.CheckPolicy(m.Policy, h.rig.keys.TokenPublic(), h.shown.Pin(), h.identity.Pin(), m.Tunnel)
	if err != nil {
		h.t.Errorf("a policy: %v", err)
		return
	}
	h.mu.Lock()
	h.policy = append(h.policy, p)
	g := h.gate
	h.mu.Unlock()
	if g != nil {
		if err := g.Set(p.Revision, p.Ports); err != nil {
			h.t.Errorf("policy %d: %v", p.Revision, err)
		}
	}
	if !h.quiet {
		_ = c.Receive(context.Background(), wire.FromAgent{Applied: &wire.Applied{Tunnel: m.Tunnel, Revision: p.Revision}})
	}
}

// policies returns what came, as revision and ports.
func (h *host) policies() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for _, p := range h.policy {
		all = append(all, fmt.Sprint(p.Revision, p.Ports))
	}
	return all
}

func (h *host) admit() {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.link.AddPeer(wg.Peer{
		PublicKey: h.claims.ServerKey, PresharedKey: h.psk, AllowedIP: h.claims.EngineIP,
		Endpoint: netip.MustParseAddrPort(h.claims.Endpoint), Keepalive: 25 * time.Second,
	})
	if err != nil {
		h.t.Error(err)
	}
}

// closeTunnel takes away what the host has of a tunnel, as if its process were gone.
func (h *host) closeTunnel() {
	h.mu.Lock()
	link, stop, g := h.link, h.shell, h.gate
	h.link, h.shell, h.gate = nil, nil, nil
	h.mu.Unlock()
	if link != nil {
		stop()
		if g != nil {
			g.Close()
		}
		link.Close()
	}
	h.serving.Wait()
}

// peers counts the peers that the engine's interface has.
func (r *rig) peers(t *testing.T) int {
	t.Helper()
	i, err := r.openLink()
	if err != nil {
		t.Fatal(err)
	}
	p, err := i.Peers()
	if err != nil {
		t.Fatal(err)
	}
	return len(p)
}

// up connects an operator and waits until the tunnel works.
func (r *rig) up(t *testing.T, h *host, who Holder) Status {
	t.Helper()
	st, err := r.Connect(t.Context(), h.device.ID, who, ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	st, err = r.WaitUp(ctx, st.TunnelID, nil)
	if err != nil {
		t.Fatalf("wait until up: %v; %+v", err, st.Timeline)
	}
	return st
}

// settled reports whether nothing waits for the audit trail.
func (r *rig) settled() bool {
	r.recorder.mu.Lock()
	defer r.recorder.mu.Unlock()
	return len(r.recorder.queue) == 0
}

// records returns what is on record, oldest first, once nothing waits.
func (r *rig) records(t *testing.T, q store.RecordQuery) []store.Record {
	t.Helper()
	r.until(t, r.settled)
	q.Scope, q.Limit = store.Scope{All: true}, store.MaxPage
	all, err := r.store.Records(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(all)
	return all
}

// ending waits until the tunnel has ended and returns why.
func (r *rig) ending(t *testing.T, tunnelID string) Reason {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if s := r.session(tunnelID); s != nil {
		select {
		case <-s.ended:
		case <-ctx.Done():
			t.Fatal("the tunnel did not end")
		}
	}
	row, err := r.store.Tunnel(t.Context(), tunnelID)
	if err != nil {
		t.Fatal(err)
	}
	return Reason(row.Reason)
}

// until waits for a change after which ok is true.
func (r *rig) until(t *testing.T, ok func() bool) {
	t.Helper()
	events, stop := r.Watch()
	defer stop()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for !ok() {
		select {
		case <-events:
		case <-limit.C:
			t.Fatal("nothing came of it")
		}
	}
}
