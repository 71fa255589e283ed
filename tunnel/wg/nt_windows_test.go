//go:build winetest

package wg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/windows"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

const (
	emptied = 0x2 | 0x4 | 0x8 // private key, UDP port, no peers
	created = "create Borealis WireGuard 3f3b6d0e-7a1c-4e5b-9c62"
)

var (
	noKey    wgtypes.Key
	ntConfig = Config{
		Mode: NT, Address: netip.MustParseAddr("127.0.0.2"), PrivateKey: wgtypes.Key{1, 2, 3},
		Route: netip.MustParsePrefix("10.255.0.1/32"),
	}
	ntPeer1 = Peer{
		PublicKey: wgtypes.Key{4, 5}, PresharedKey: wgtypes.Key{6, 7}, AllowedIP: netip.MustParseAddr("10.255.0.1"),
		Endpoint: netip.MustParseAddrPort("192.0.2.7:30000"), Keepalive: 25 * time.Second,
	}
)

// lines joins what must be in the journal.
func lines(all ...string) string { return strings.Join(all, "\n") }

// expect compares the journal since the last time.
func (f *fake) expect(what string, all ...string) {
	f.t.Helper()
	if diff := cmp.Diff(lines(all...), f.journal()); diff != "" {
		f.t.Errorf("%s: (-want +got)\n%s", what, diff)
	}
}

// openOn opens an interface on an adapter, and closes it after the test.
func openOn(t *testing.T, a *Adapter) *Interface {
	t.Helper()
	c := ntConfig
	c.Adapter = a
	i, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// TestNTLifecycle follows two tunnels of one service, call by call and byte by byte.
func TestNTLifecycle(t *testing.T) {
	f := newFake(t)
	a := f.open()
	luid := fmt.Sprintf("%x", uint64(a.luid))
	rest := []string{"down", configLine(emptied, noKey), "windows: nothing on " + luid}
	f.expect("the service starts", append(append([]string{created, "windows: filter"}, rest...), "logging 1")...)
	if a.Name() != "Borealis" || a.Version() != "1.1" {
		t.Errorf("adapter %q of driver %q", a.Name(), a.Version())
	}

	for range 2 {
		i := openOn(t, a)
		f.expect("a tunnel opens", configLine(emptied, ntConfig.PrivateKey),
			"windows: 127.0.0.2 to 10.255.0.1/32 on "+luid+", MTU 1420", "windows: watch", "up")
		if i.Mode() != NT || i.Name() != "Borealis" || i.ListenPort() != 40000 || i.Address() != ntConfig.Address {
			t.Errorf("interface %s %s, port %d, address %s", i.Mode(), i.Name(), i.ListenPort(), i.Address())
		}
		if err := i.AddPeer(ntPeer1); err != nil {
			t.Fatal(err)
		}
		added := peerBytes(0x1|0x2|0x4|0x8|0x20, ntPeer1.PublicKey, ntPeer1.PresharedKey, 25, ntPeer1.Endpoint, ntPeer1.AllowedIP)
		f.expect("the peer comes", configLine(0, noKey, added))
		f.testHandshake(i)
		if err := i.RemovePeer(ntPeer1.PublicKey); err != nil {
			t.Fatal(err)
		}
		removed := peerBytes(0x1|0x40, ntPeer1.PublicKey, noKey, 0, netip.AddrPort{}, netip.Addr{})
		f.expect("the peer goes", configLine(0, noKey, removed))
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
		f.expect("the tunnel closes", append([]string{"windows: no watch"}, rest...)...)
	}

	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
	f.expect("the service stops", append(rest, "close", "windows: no filter")...)
	if _, err := Open(t.Context(), Config{Mode: NT, Adapter: a, Address: ntConfig.Address, PrivateKey: wgtypes.Key{1}}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("open on an adapter that is closed: %v", err)
	}
}

// testHandshake waits for a handshake with a peer, and looks at the figures.
func (f *fake) testHandshake(i *Interface) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := i.Handshake(ctx, ntPeer1.PublicKey); !errors.Is(err, context.DeadlineExceeded) {
		f.t.Errorf("handshake before the peer spoke: %v", err)
	}
	at := time.Date(2026, 2, 3, 4, 5, 6, 700, time.UTC)
	f.call("FakeHandshake", uintptr(at.UnixNano()/100+fileTimeUnix), 11, 22)
	if err := i.Handshake(f.t.Context(), ntPeer1.PublicKey); err != nil {
		f.t.Fatal(err)
	}
	got, _, err := i.Peer(ntPeer1.PublicKey)
	if err != nil {
		f.t.Fatal(err)
	}
	want := PeerState{
		PublicKey: ntPeer1.PublicKey, Endpoint: ntPeer1.Endpoint, LastHandshake: at, SentBytes: 11, ReceivedBytes: 22,
		AllowedIPs: []netip.Prefix{netip.PrefixFrom(ntPeer1.AllowedIP, 32)},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		f.t.Error(diff)
	}
}

// TestNTManyPeers reads more peers than the first guess of a buffer holds.
func TestNTManyPeers(t *testing.T) {
	f := newFake(t)
	i := openOn(t, f.open())
	if peers, err := i.Peers(); err != nil || len(peers) != 0 {
		t.Errorf("peers at first: %v, %v", peers, err)
	}
	for n := byte(1); n <= 8; n++ {
		if err := i.AddPeer(Peer{PublicKey: wgtypes.Key{n}, AllowedIP: netip.AddrFrom4([4]byte{10, 255, 2, n})}); err != nil {
			t.Fatal(err)
		}
	}
	peers, err := i.Peers()
	if err != nil || len(peers) != 8 {
		t.Fatalf("%d peers, %v", len(peers), err)
	}
	for n, p := range peers {
		if p.PublicKey[0] != byte(n+1) || p.AllowedIPs[0].Addr().As4()[3] != byte(n+1) || p.Endpoint.IsValid() || !p.LastHandshake.IsZero() {
			t.Errorf("peer %d is %+v", n, p)
		}
	}
	if err := i.SetPeers([]Peer{ntPeer1}); err != nil {
		t.Fatal(err)
	}
	if peers, err := i.Peers(); err != nil || len(peers) != 1 {
		t.Errorf("%d peers after they were set, %v", len(peers), err)
	}
}

// TestNTRepair changes the adapter behind the interface's back.
func TestNTRepair(t *testing.T) {
	f := newFake(t)
	i := openOn(t, f.open())
	if i.Changed() != nil {
		t.Error("there is news of the adapter")
	}
	only := Peer{PublicKey: wgtypes.Key{8}} // for the handshake
	for _, p := range []Peer{only, ntPeer1} {
		if err := i.AddPeer(p); err != nil {
			t.Fatal(err)
		}
	}
	repaired := func(want ...string) {
		t.Helper()
		got, err := i.Repair()
		if err != nil || len(got) != len(want) {
			t.Fatalf("repaired %q, %v; want %q", got, err, want)
		}
		for n := range want {
			if !strings.Contains(got[n], want[n]) {
				t.Errorf("repaired %q, want %q", got[n], want[n])
			}
		}
	}
	repaired()
	stranger, moved := Peer{PublicKey: wgtypes.Key{9}, AllowedIP: ntPeer1.AllowedIP}, only
	moved.AllowedIP = ntConfig.Address
	bare := ntPeer1
	bare.PresharedKey = noKey
	for _, c := range []struct {
		change change
		want   string
	}{
		{change{peer: stranger}, "was added by somebody else"},
		{change{peer: ntPeer1, remove: true}, "was missing"},
		{change{peer: moved}, "had addresses [127.0.0.2/32]"},
		{change{peer: bare}, "had another preshared key"},
	} {
		if err := i.table.set(false, []change{c.change}); err != nil {
			t.Fatal(err)
		}
		repaired(c.want)
		repaired()
	}
	if err := i.table.own(wgtypes.Key{7}, i.port); err != nil {
		t.Fatal(err)
	}
	repaired("The private key was another")
	if err := i.table.own(i.private, 1); err != nil {
		t.Fatal(err)
	}
	repaired("Its UDP port was 1: it is 40000 again.")
	repaired()
}

// TestNTListens listens before there is a peer.
func TestNTListens(t *testing.T) {
	f := newFake(t)
	f.unusable = 3
	i := openOn(t, f.open())
	l, err := i.ListenTCP(netip.AddrPortFrom(i.Address(), 0))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if at := l.Addr().(*net.TCPAddr).AddrPort(); at.Addr() != i.Address() {
		t.Errorf("it listens on %s", at)
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(t.Context(), "tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got.Close()
	if _, err := i.ListenTCP(netip.MustParseAddrPort("0.0.0.0:0")); err == nil {
		t.Error("it listens on every address")
	}
}

// TestNTAddressNeverComes gives up, and leaves the adapter as it was.
func TestNTAddressNeverComes(t *testing.T) {
	f := newFake(t)
	f.unusable = 1 << 30
	a := f.open()
	f.journal()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c := ntConfig
	c.Adapter = a
	_, err := Open(ctx, c)
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, windows.ERROR_NOT_FOUND) {
		t.Errorf("got %v", err)
	}
	if j := f.journal(); !strings.HasSuffix(j, lines("windows: no watch", "down", configLine(emptied, noKey), fmt.Sprintf("windows: nothing on %x", uint64(a.luid)))) {
		t.Error(j)
	}
	f.unusable = 0
	openOn(t, a)
}

// TestNTOneInterface opens a second interface on an adapter.
func TestNTOneInterface(t *testing.T) {
	f := newFake(t)
	a := f.open()
	i := openOn(t, a)
	c := ntConfig
	c.Adapter = a
	if _, err := Open(t.Context(), c); !errors.Is(err, ErrAdapterInUse) {
		t.Errorf("got %v, want %v", err, ErrAdapterInUse)
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	openOn(t, a)
}

// TestNTRemovedUnderneath removes the adapter between two tunnels, and in one.
func TestNTRemovedUnderneath(t *testing.T) {
	f := newFake(t)
	a := f.open()
	f.journal()
	f.call("FakeFailures", 0, 2) // of the new key, then of emptying what is gone
	i := openOn(t, a)
	luid := fmt.Sprintf("%x", uint64(a.luid))
	got := f.journal()
	if n := strings.Count(got, created); n != 1 || !strings.Contains(got, "close") || !strings.HasSuffix(got, "up") {
		t.Errorf("created %d times: %s", n, got)
	}
	if !strings.Contains(got, "windows: 127.0.0.2 to 10.255.0.1/32 on "+luid) || f.closed {
		t.Errorf("the new one is not in place: %s", got)
	}
	f.gone()
	f.gone()
	<-i.Done()
	if err := i.AddPeer(ntPeer1); !errors.Is(err, net.ErrClosed) {
		t.Errorf("add a peer to what is gone: %v", err)
	}
}

// TestNTCannotConnect leaves nothing when Windows refuses the address.
func TestNTCannotConnect(t *testing.T) {
	f := newFake(t)
	a := f.open()
	f.journal()
	f.refuse["connect"] = windows.ERROR_OBJECT_ALREADY_EXISTS
	c := ntConfig
	c.Adapter = a
	if _, err := Open(t.Context(), c); !errors.Is(err, windows.ERROR_OBJECT_ALREADY_EXISTS) {
		t.Errorf("got %v", err)
	}
	if got := f.journal(); strings.Contains(got, "up\n") || !strings.Contains(got, lines("down", configLine(emptied, noKey))) {
		t.Error(got)
	}
}

// TestNTAfterBoot retries when the driver is not ready, longer while Windows has just started.
func TestNTAfterBoot(t *testing.T) {
	f := newFake(t)
	f.booted = time.Minute
	f.call("FakeFailures", laterAttempts, 0)
	f.open()
	if n := strings.Count(f.journal(), created); n != laterAttempts+1 {
		t.Errorf("created %d times", n)
	}
	f.booted = time.Hour
	f.call("FakeFailures", bootAttempts, 0)
	_, err := openAdapter(t.Context(), AdapterConfig{DLL: f.dll}, f.host())
	if n := strings.Count(f.journal(), created); n != laterAttempts || !errors.Is(err, windows.ERROR_NOT_READY) {
		t.Errorf("created %d times, %v", n, err)
	}
	f.booted = time.Minute
	f.call("FakeFailures", 9, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := openAdapter(ctx, AdapterConfig{DLL: f.dll}, f.host()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestNTWithoutFilter opens no adapter that nothing stands before.
func TestNTWithoutFilter(t *testing.T) {
	f := newFake(t)
	f.refuse["firewall"] = windows.ERROR_SERVICE_NOT_ACTIVE
	_, err := openAdapter(t.Context(), AdapterConfig{DLL: f.dll}, f.host())
	if !errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) || !strings.Contains(err.Error(), "Base Filtering Engine") {
		t.Errorf("got %v", err)
	}
	if got := f.journal(); !strings.HasSuffix(got, "close") {
		t.Error(got)
	}
}

// TestWindowsNetwork asks Windows about an adapter that is not there. Wine lacks what it takes to
// connect one.
func TestWindowsNetwork(t *testing.T) {
	const nobody = 0x35ffff00000000
	h := windowsHost()
	if err := h.disconnect(nobody); err != nil {
		t.Errorf("disconnect: %v", err)
	}
	if usable, err := h.usable(nobody, ntConfig.Address); usable || err == nil {
		t.Errorf("usable: %t, %v", usable, err)
	}
	if h.sinceBoot() <= 0 {
		t.Error("Windows has not started")
	}
	stop, err := h.watch(nobody, func() { t.Error("it is gone") })
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
