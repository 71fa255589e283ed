package gate_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"

	"borealis/agent/gate"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	at, atUDP := serve(t, 0, echo), serveUDP(t, 0, nil)
	u := newTunnel(t, engineIP, port("tcp", at), port("udp", atUDP))
	for protocol, c := range map[string]struct {
		port  uint16
		limit int
	}{"tcp": {at, gate.MaxTCP}, "udp": {atUDP, gate.MaxUDP}} {
		var first net.Conn
		for range c.limit {
			conn := u.mustDial(t, protocol, c.port)
			if first == nil {
				first = conn
			}
		}
		for range 3 {
			if _, err := u.dial(t, protocol, c.port); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatalf("%s beyond the limit: %v", protocol, err)
			}
		}
		if err := ping(first, soon); err != nil {
			t.Errorf("%s: the first flow: %v", protocol, err)
		}
		if protocol == "tcp" { // UDP makes room when it is idle
			first.Close()
			eventually(t, "there is room again", func() bool { tcp, _, _ := u.gate.Flows(); return tcp < c.limit })
			u.mustDial(t, protocol, c.port)
		}
	}
	if got := u.log.lines("msg=gate_refused", `reason="too many connections"`); len(got) != 1 {
		t.Errorf("the log has %d lines about that, want 1: %q", len(got), got)
	}
}

// deserted returns a port of the device on which nobody listens, nor will before the test ends: a
// socket that is connected to somebody hears nobody else.
func deserted(t testing.TB, protocol string) uint16 {
	t.Helper()
	here := net.IPv4(127, 0, 0, 1)
	if protocol == "tcp" {
		somebody, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: here})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { somebody.Close() })
		c, err := net.DialTCP("tcp4", nil, somebody.Addr().(*net.TCPAddr))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.LocalAddr().(*net.TCPAddr).AddrPort().Port()
	}
	c, err := net.DialUDP("udp4", &net.UDPAddr{IP: here}, &net.UDPAddr{IP: here, Port: 9})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// isReset reports whether the other end has reset a connection. Windows has a number of its own for
// that, and Wine now and then only closes what is to be reset.
func isReset(err error) bool {
	const wsaConnectionReset = syscall.Errno(10054)
	if runtime.GOOS == "windows" && (err == nil || errors.Is(err, io.EOF)) {
		return true
	}
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, wsaConnectionReset)
}
