package wg_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/tunnel/wg"
)

// testBackend holds what must be true of every backend; mode is the engine's.
func testBackend(t *testing.T, mode wg.Mode) {
	for _, c := range []struct {
		name string
		test func(*testing.T, wg.Mode)
	}{
		{"echo both ways", testEcho},
		{"refused port", testRefused},
		{"dial before the handshake", testEarlyDial},
		{"state of a peer", testPeerState},
		{"peer removal cuts at once", testRemoval},
		{"preshared key", testPresharedKey},
		{"wrong key", testWrongKey},
		{"forged source", testForgedSource},
		{"peer table", testPeerTable},
		{"bad peers", testBadPeers},
		{"whole set", testSetPeers},
		{"handshake that cannot be", testNoHandshake},
		{"closed interface", testClosed},
		{"port in use", testPortInUse},
		{"datagrams", testUDP},
		{"refused datagrams", testUDPRefused},
		{"flows", testFlows},
		{"receive", testReceiveIsForNetstack},
		{"repair", testRepair},
		{"peer for the handshake only", testOnlyHandshake},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, mode) })
	}
}

func testEcho(t *testing.T, mode wg.Mode) {
	engine, agent := pair(t, mode)
	for _, way := range []struct {
		name     string
		from, to *wg.Interface
		at       netip.Addr
	}{{"engine to agent", engine, agent, agentIP}, {"agent to engine", agent, engine, engineIP}} {
		c := dial(t, way.from, serve(t, way.to, way.at, echo))
		if err := ping(c, soon); err != nil {
			t.Errorf("%s: %v", way.name, err)
		}
		if got := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap(); got != way.at {
			t.Errorf("%s: remote address is %s", way.name, got)
		}
	}
}

func testRefused(t *testing.T, mode wg.Mode) {
	engine, agent := pair(t, mode)
	for _, way := range []struct {
		from *wg.Interface
		to   netip.Addr
	}{{engine, agentIP}, {agent, engineIP}} {
		_, err := way.from.DialTCP(within(t, soon), netip.AddrPortFrom(way.to, 9))
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial %s: got %v, want a refusal", way.to, err)
		}
	}
}

func testEarlyDial(t *testing.T, mode wg.Mode) {
	engine, agent := open(t, mode, "engine0", engineIP), open(t, wg.Netstack, "agent0", agentIP)
	psk := newPSK(t)
	at := serve(t, agent, agentIP, echo)
	admit(t, engine, agent, agentIP, psk)
	dialled := make(chan error)
	go func() {
		c, err := engine.DialTCP(within(t, soon), at)
		if err == nil {
			err = ping(c, soon)
			c.Close()
		}
		dialled <- err
	}()
	call(t, agent, engine, psk)
	if err := <-dialled; err != nil {
		t.Error(err)
	}
}

func testPeerState(t *testing.T, mode wg.Mode) {
	start := time.Now().Add(-time.Second)
	engine, agent := pair(t, mode)
	c := dial(t, engine, serve(t, agent, agentIP, echo))
	if err := ping(c, soon); err != nil {
		t.Fatal(err)
	}
	got, ok, err := engine.Peer(agent.PublicKey())
	if err != nil || !ok {
		t.Fatalf("peer is there: %t, %v", ok, err)
	}
	want := wg.PeerState{
		PublicKey:  agent.PublicKey(),
		Endpoint:   endpointOf(agent),
		AllowedIPs: []netip.Prefix{netip.PrefixFrom(agentIP, 32)},
	}
	figures := cmpopts.IgnoreFields(wg.PeerState{}, "LastHandshake", "ReceivedBytes", "SentBytes")
	if diff := cmp.Diff(want, got, figures, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("peer (-want +got):\n%s", diff)
	}
	if got.LastHandshake.Before(start) || got.LastHandshake.After(time.Now().Add(time.Second)) {
		t.Errorf("last handshake was %s", got.LastHandshake)
	}
	if got.ReceivedBytes == 0 || got.SentBytes == 0 {
		t.Errorf("received %d, sent %d bytes, want some", got.ReceivedBytes, got.SentBytes)
	}
	if _, ok, err := engine.Peer(newKey(t).PublicKey()); ok || err != nil {
		t.Errorf("a stranger is there: %t, %v", ok, err)
	}
}

func testRemoval(t *testing.T, mode wg.Mode) {
	engine, agent := pair(t, mode)
	bystander := open(t, wg.Netstack, "agent1", otherIP)
	psk := newPSK(t)
	admit(t, engine, bystander, otherIP, psk)
	call(t, bystander, engine, psk)
	cut, kept := dial(t, engine, serve(t, agent, agentIP, echo)), dial(t, engine, serve(t, bystander, otherIP, echo))
	for range 2 { // removing twice is fine
		if err := engine.RemovePeer(agent.PublicKey()); err != nil {
			t.Fatal(err)
		}
	}
	if err := ping(cut, never); !silent(err) {
		t.Errorf("echo after the removal: %v, want silence", err)
	}
	if err := ping(kept, soon); err != nil {
		t.Errorf("the other peer lost its connection: %v", err)
	}
	if _, ok, err := engine.Peer(agent.PublicKey()); ok || err != nil {
		t.Errorf("peer is still there: %t, %v", ok, err)
	}
}

func testPresharedKey(t *testing.T, mode wg.Mode) {
	engine, agent := open(t, mode, "engine0", engineIP), open(t, wg.Netstack, "agent0", agentIP)
	right := newPSK(t)
	admit(t, engine, agent, agentIP, right)
	for _, wrong := range []wgtypes.Key{newPSK(t), {}} {
		call(t, agent, engine, wrong)
		for _, h := range []struct{ here, there *wg.Interface }{{engine, agent}, {agent, engine}} {
			if err := h.here.Handshake(within(t, never), h.there.PublicKey()); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("wrong preshared key: %v, want no handshake", err)
			}
		}
	}
	call(t, agent, engine, right)
	if err := engine.Handshake(within(t, soon), agent.PublicKey()); err != nil {
		t.Errorf("right preshared key: %v", err)
	}
}

func testWrongKey(t *testing.T, mode wg.Mode) {
	engine, agent := open(t, mode, "engine0", engineIP), open(t, wg.Netstack, "agent0", agentIP)
	psk := newPSK(t)
	stranger := newKey(t).PublicKey()
	err := engine.AddPeer(wg.Peer{PublicKey: stranger, PresharedKey: psk, AllowedIP: agentIP})
	if err != nil {
		t.Fatal(err)
	}
	call(t, agent, engine, psk)
	if err := agent.Handshake(within(t, never), engine.PublicKey()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("handshake of an unknown key: %v, want none", err)
	}
	if err := engine.Handshake(within(t, never), stranger); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("handshake in another's name: %v, want none", err)
	}
}

func testForgedSource(t *testing.T, mode wg.Mode) {
	engine, forger := open(t, mode, "engine0", engineIP), open(t, wg.Netstack, "agent0", otherIP)
	psk := newPSK(t)
	at := serve(t, engine, engineIP, echo)
	admit(t, engine, forger, agentIP, psk) // it may be .10, but says .11
	call(t, forger, engine, psk)
	if err := engine.Handshake(within(t, soon), forger.PublicKey()); err != nil {
		t.Fatal(err)
	}
	if c, err := forger.DialTCP(within(t, never), at); !silent(err) {
		t.Errorf("dial with a forged source: %v, %v; want silence", c, err)
	}
	admit(t, engine, forger, otherIP, psk)
	call(t, forger, engine, psk)
	if err := ping(dial(t, forger, at), soon); err != nil {
		t.Errorf("dial with the true source: %v", err)
	}
}

// addressOf returns the n-th address of the table tests.
func addressOf(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 255, byte(2 + n/200), byte(1 + n%200)})
}

func testPeerTable(t *testing.T, mode wg.Mode) {
	const count = 60
	engine := open(t, mode, "engine0", engineIP)
	want := make(map[wgtypes.Key]netip.Prefix)
	var keys []wgtypes.Key
	for n := range count {
		key := newKey(t).PublicKey()
		if err := engine.AddPeer(wg.Peer{PublicKey: key, PresharedKey: newPSK(t), AllowedIP: addressOf(n)}); err != nil {
			t.Fatal(err)
		}
		want[key] = netip.PrefixFrom(addressOf(n), 32)
		keys = append(keys, key)
	}
	checkTable(t, engine, want)
	for n := 0; n < count; n += 2 {
		if err := engine.RemovePeer(keys[n]); err != nil {
			t.Fatal(err)
		}
		delete(want, keys[n])
	}
	checkTable(t, engine, want)
	// An address that is free again may go to another, and a peer may move.
	if err := engine.AddPeer(wg.Peer{PublicKey: keys[1], AllowedIP: addressOf(0)}); err != nil {
		t.Fatal(err)
	}
	want[keys[1]] = netip.PrefixFrom(addressOf(0), 32)
	checkTable(t, engine, want)
}

// checkTable compares the peers of an interface, each with exactly one /32.
func checkTable(t *testing.T, i *wg.Interface, want map[wgtypes.Key]netip.Prefix) {
	t.Helper()
	peers, err := i.Peers()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[wgtypes.Key]netip.Prefix)
	for _, p := range peers {
		if len(p.AllowedIPs) != 1 {
			t.Fatalf("peer %s has addresses %v, want one", p.PublicKey, p.AllowedIPs)
		}
		got[p.PublicKey] = p.AllowedIPs[0]
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("peer table (-want +got):\n%s", diff)
	}
}

func testBadPeers(t *testing.T, mode wg.Mode) {
	engine := open(t, mode, "engine0", engineIP)
	good := wg.Peer{PublicKey: newKey(t).PublicKey(), AllowedIP: agentIP}
	if err := engine.AddPeer(good); err != nil {
		t.Fatal(err)
	}
	fresh := newKey(t).PublicKey()
	for name, p := range map[string]wg.Peer{
		"no key":             {AllowedIP: otherIP},
		"own key":            {PublicKey: engine.PublicKey(), AllowedIP: otherIP},
		"IPv6 address":       {PublicKey: fresh, AllowedIP: netip.MustParseAddr("fd00::1")},
		"own address":        {PublicKey: fresh, AllowedIP: engineIP},
		"address of another": {PublicKey: fresh, AllowedIP: agentIP},
		"endpoint no port":   {PublicKey: fresh, AllowedIP: otherIP, Endpoint: netip.AddrPortFrom(engineIP, 0)},
		"negative keepalive": {PublicKey: fresh, AllowedIP: otherIP, Keepalive: -time.Second},
		"endless keepalive":  {PublicKey: fresh, AllowedIP: otherIP, Keepalive: 24 * time.Hour},
	} {
		if err := engine.AddPeer(p); err == nil {
			t.Errorf("%s: added", name)
		}
		if err := engine.SetPeers([]wg.Peer{good, p}); err == nil {
			t.Errorf("%s: set", name)
		}
	}
	checkTable(t, engine, map[wgtypes.Key]netip.Prefix{good.PublicKey: netip.PrefixFrom(agentIP, 32)})
}

func testSetPeers(t *testing.T, mode wg.Mode) {
	engine, agent := pair(t, mode)
	c := dial(t, engine, serve(t, agent, agentIP, echo))
	want := make(map[wgtypes.Key]netip.Prefix)
	var peers []wg.Peer
	for n := range 3 {
		p := wg.Peer{PublicKey: newKey(t).PublicKey(), PresharedKey: newPSK(t), AllowedIP: addressOf(n)}
		peers, want[p.PublicKey] = append(peers, p), netip.PrefixFrom(p.AllowedIP, 32)
	}
	if err := engine.SetPeers(peers); err != nil {
		t.Fatal(err)
	}
	checkTable(t, engine, want)
	if err := ping(c, never); !silent(err) {
		t.Errorf("echo from a peer that is no longer in the set: %v, want silence", err)
	}
	if err := engine.SetPeers(nil); err != nil {
		t.Fatal(err)
	}
	checkTable(t, engine, map[wgtypes.Key]netip.Prefix{})
	admit(t, engine, agent, agentIP, newPSK(t)) // its address is free again
}

func testNoHandshake(t *testing.T, mode wg.Mode) {
	engine := open(t, mode, "engine0", engineIP)
	key := newKey(t).PublicKey()
	if err := engine.Handshake(t.Context(), key); !errors.Is(err, wg.ErrNoPeer) {
		t.Errorf("unknown peer: %v, want %v", err, wg.ErrNoPeer)
	}
	if err := engine.AddPeer(wg.Peer{PublicKey: key, AllowedIP: agentIP}); err != nil {
		t.Fatal(err)
	}
	if err := engine.Handshake(within(t, never), key); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("peer that never speaks: %v, want %v", err, context.DeadlineExceeded)
	}
	waiting := make(chan error)
	go func() { waiting <- engine.Handshake(within(t, soon), key) }()
	if err := engine.RemovePeer(key); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, wg.ErrNoPeer) {
		t.Errorf("peer removed meanwhile: %v, want %v", err, wg.ErrNoPeer)
	}
}

func testClosed(t *testing.T, mode wg.Mode) {
	engine := open(t, mode, "engine0", engineIP)
	key := newKey(t).PublicKey()
	if err := engine.AddPeer(wg.Peer{PublicKey: key, AllowedIP: agentIP}); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error)
	go func() { waiting <- engine.Handshake(within(t, soon), key) }()
	select {
	case <-engine.Done():
		t.Fatal("done before Close")
	default:
	}
	for range 2 {
		if err := engine.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-waiting; !errors.Is(err, net.ErrClosed) {
		t.Errorf("handshake: %v, want %v", err, net.ErrClosed)
	}
	<-engine.Done()
	calls := map[string]func() error{
		"dial":   func() error { _, err := engine.DialTCP(t.Context(), netip.AddrPortFrom(agentIP, 1)); return err },
		"udp":    func() error { _, err := engine.DialUDP(t.Context(), netip.AddrPortFrom(agentIP, 1)); return err },
		"flows":  func() error { _, err := engine.Flows(agentIP); return err },
		"listen": func() error { _, err := engine.ListenTCP(netip.AddrPortFrom(engineIP, 1)); return err },
		"add":    func() error { return engine.AddPeer(wg.Peer{PublicKey: key, AllowedIP: agentIP}) },
		"set":    func() error { return engine.SetPeers(nil) },
		"peers":  func() error { _, err := engine.Peers(); return err },
		"peer":   func() error { _, _, err := engine.Peer(key); return err },
	}
	for name, f := range calls {
		if err := f(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v, want %v", name, err, net.ErrClosed)
		}
	}
	if err := engine.RemovePeer(key); err != nil {
		t.Errorf("remove: %v", err)
	}
}

func testPortInUse(t *testing.T, mode wg.Mode) {
	taken := open(t, wg.Netstack, "agent0", agentIP)
	config := wg.Config{
		Mode: mode, Name: "engine0", PrivateKey: newKey(t), Address: engineIP, Route: pool, ListenPort: taken.ListenPort(),
	}
	i, err := wg.Open(t.Context(), config)
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("open: %v, %v; want %v", i, err, syscall.EADDRINUSE)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	i, err = wg.Open(t.Context(), config)
	if err != nil {
		t.Fatal(fmt.Errorf("port is free, but: %w", err))
	}
	if got := i.ListenPort(); got != config.ListenPort {
		t.Errorf("port is %d, want %d", got, config.ListenPort)
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
}
