//go:build winetest

package wg_test

import (
	"io"
	"net"
	"net/netip"
	"testing"

	"borealis/agent/gate"
	"borealis/agent/wire"
	"borealis/tunnel/token"
	"borealis/tunnel/wg"
)

// TestNTGuard puts the agent's gate up on an adapter: the filter knows the ports, and the shell
// answers on the adapter's address.
func TestNTGuard(t *testing.T) {
	a := wg.OpenFakeAdapter(t)
	from, at := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.3")
	i, err := wg.Open(t.Context(), wg.Config{Mode: wg.NT, Adapter: a.Adapter, PrivateKey: newKey(t), Address: at, Route: netip.PrefixFrom(from, 32)})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	shell := token.Port{Protocol: "tcp", From: wire.ShellPort, To: wire.ShellPort}
	g := gate.New(gate.Config{Engine: from, Ports: []token.Port{shell}})
	defer g.Close()
	if err := g.Guard(i); err != nil {
		t.Fatal(err)
	}
	a.ExpectPermits(t, "TCP from=127.0.0.1 port=47002")

	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	c, err := dialer.DialContext(t.Context(), "tcp4", netip.AddrPortFrom(at, wire.ShellPort).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	served, err := g.Shell().Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	if err := g.Set(1, []token.Port{{Protocol: "udp", From: 3389, To: 3389}}); err != nil {
		t.Fatal(err)
	}
	a.ExpectPermits(t, "UDP from=127.0.0.1 port=3389")
	if n, _ := io.Copy(io.Discard, c); n != 0 { // Wine closes what Windows resets.
		t.Errorf("the shell ended with %d bytes", n)
	}
	g.Close()
	a.ExpectPermits(t)
}
