package wg_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/tunnel/wg"
)

// dialUDP connects a UDP socket or fails the test.
func dialUDP(t testing.TB, i *wg.Interface, to netip.AddrPort) net.Conn {
	t.Helper()
	c, err := i.DialUDP(within(t, soon), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func testUDP(t *testing.T, mode wg.Mode) {
	engine, agent := pair(t, mode)
	receive(t, agent, func(c net.Conn) {
		datagram := make([]byte, 64<<10)
		for {
			n, err := c.Read(datagram)
			if err != nil {
				return
			}
			if _, err := c.Write(datagram[:n]); err != nil {
				t.Errorf("write %d bytes: %v", n, err)
			}
		}
	})
	c := dialUDP(t, engine, at(openPort))
	if got := c.RemoteAddr().(*net.UDPAddr).AddrPort(); got.Addr().Unmap() != agentIP || got.Port() != openPort {
		t.Errorf("remote address is %s", got)
	}
	if got := c.LocalAddr().(*net.UDPAddr).AddrPort(); got.Addr().Unmap() != engineIP {
		t.Errorf("local address is %s", got)
	}
	for _, size := range []int{1, 1392, 8000, 30000} { // one more than fits into a packet, and far more
		if err := c.SetDeadline(time.Now().Add(soon)); err != nil {
			t.Fatal(err)
		}
		sent, got := make([]byte, size), make([]byte, 64<<10)
		if _, err := io.ReadFull(noise(byte(size)), sent); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(sent); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(got)
		if err != nil || !cmp.Equal(sent, got[:n]) {
			t.Errorf("%d bytes come back as %d, %v", size, n, err)
		}
	}
	if _, err := engine.DialUDP(t.Context(), netip.MustParseAddrPort("[fd00::1]:1")); err == nil {
		t.Error("dialled an IPv6 address")
	}
}

// testUDPRefused asks ports that refuse, waiting for the answer and not.
func testUDPRefused(t *testing.T, mode wg.Mode) {
	engine, agent := pair(t, mode)
	receive(t, agent, func(net.Conn) {})
	for _, way := range []struct {
		from *wg.Interface
		to   netip.AddrPort
	}{{engine, at(closedPort)}, {agent, netip.AddrPortFrom(engineIP, 9)}} {
		c := dialUDP(t, way.from, way.to)
		if err := c.SetDeadline(time.Now().Add(soon)); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			answer := make(chan error, 1)
			go func() { _, err := c.Read(make([]byte, 1)); answer <- err }()
			if _, err := c.Write([]byte{1}); err != nil {
				t.Fatalf("write to %s: %v", way.to, err)
			}
			if err := <-answer; !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("read from %s: %v, want a refusal", way.to, err)
			}
		}
	}
}

func TestUDPArrivalIsRefusedLater(t *testing.T) {
	engine, agent := pair(t, wg.Netstack)
	accepted := make(chan *wg.Arrival, 1)
	err := agent.Receive(wg.Arrivals{UDP: func(a *wg.Arrival) {
		if _, err := a.Accept(t.Context()); err != nil {
			t.Error(err)
		}
		accepted <- a
	}})
	if err != nil {
		t.Fatal(err)
	}
	c := dialUDP(t, engine, at(openPort))
	if _, err := c.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	a := <-accepted
	if err := c.SetDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 1)); answer <- err }()
	a.Refuse()
	if err := <-answer; !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("read: %v, want a refusal", err)
	}
}
