package gate_test

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/tunnel/token"
	"borealis/tunnel/wg"
)

func TestRefused(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	listening := serve(t, 0, func(*net.TCPConn) { reached.Add(1) })
	seen := make(chan netip.AddrPort, 9)
	listeningUDP := serveUDP(t, 0, seen)
	emptyTCP, emptyUDP := deserted(t, "tcp"), deserted(t, "udp")
	u := newTunnel(t, engineIP, port("tcp", emptyTCP), port("udp", emptyUDP),
		port("udp", listening), port("tcp", listeningUDP)) // of the other protocol each
	cases := map[string]struct {
		protocol string
		port     uint16
	}{
		"not allowed though somebody listens":     {"tcp", listening},
		"not allowed, and nobody listens":         {"tcp", deserted(t, "tcp")},
		"allowed but nobody listens":              {"tcp", emptyTCP},
		"the shell":                               {"tcp", wire.ShellPort},
		"port zero":                               {"tcp", 0},
		"UDP not allowed though somebody listens": {"udp", listeningUDP},
		"UDP allowed but nobody listens":          {"udp", emptyUDP},
		"UDP of the shell's number":               {"udp", wire.ShellPort},
	}
	if runtime.GOOS == "windows" { // Wine loses what a port says to a datagram, one time in three.
		delete(cases, "UDP allowed but nobody listens")
	}
	for name, c := range cases {
		began := time.Now()
		if _, err := u.dial(t, c.protocol, c.port); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
		t.Logf("%s: refused after %v", name, time.Since(began))
	}
	if n := reached.Load(); n != 0 || len(seen) != 0 {
		t.Errorf("the device was reached by %d connections and %d datagrams", n, len(seen))
	}
	eventually(t, "no flow is left", func() bool { tcp, _, udp := u.gate.Flows(); return tcp+udp == 0 })
}

// TestRangeEdges listens on both sides of both edges.
func TestRangeEdges(t *testing.T) {
	t.Parallel()
	first := neighbours(t, 5)
	for _, protocol := range []string{"tcp", "udp"} {
		u := newTunnel(t, engineIP, token.Port{Protocol: protocol, From: first + 1, To: first + 3})
		for n := first; n < first+5; n++ {
			want := error(nil)
			if n == first || n == first+4 {
				want = syscall.ECONNREFUSED
			}
			c, err := u.dial(t, protocol, n)
			if err == nil {
				err = ping(c, soon)
			}
			if !errors.Is(err, want) {
				t.Errorf("port %d/%s of %d-%d: %v, want %v", n, protocol, first+1, first+3, err, want)
			}
		}
	}
}

// neighbours serves TCP and UDP on so many ports in a row and returns the first.
func neighbours(t *testing.T, count uint16) uint16 {
	t.Helper()
	free := func(n uint16) bool {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(n)})
		if err != nil {
			return false
		}
		l.Close()
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(n)})
		if err != nil {
			return false
		}
		c.Close()
		return true
	}
search:
	for first := uint16(20000); first < 30000; first += count {
		for n := first; n < first+count; n++ {
			if !free(n) {
				continue search
			}
		}
		for n := first; n < first+count; n++ {
			serve(t, n, echo)
			serveUDP(t, n, nil)
		}
		return first
	}
	t.Fatal("no free ports")
	return 0
}

func TestStrangersGetNothing(t *testing.T) {
	t.Parallel()
	at, atUDP := serve(t, 0, echo), serveUDP(t, 0, nil)
	u := newTunnel(t, otherIP, port("tcp", at), port("udp", atUDP), port("tcp", wire.ShellPort))
	for range 5 {
		for protocol, n := range map[string]uint16{"tcp": at, "udp": atUDP} {
			if _, err := u.dial(t, protocol, n); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a stranger dials %d/%s: %v", n, protocol, err)
			}
		}
		if _, err := u.dial(t, "tcp", wire.ShellPort); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a stranger dials the shell: %v", err)
		}
	}
	if got := u.log.lines("level=WARN", "msg=gate_refused", `reason="not the engine"`, "addr=10.255.0.1:"); len(got) != 1 {
		t.Errorf("the log has %d lines about that, want 1: %q", len(got), got)
	}
}

// TestOtherAddressesGetNothing lets the engine send packets for another address to the agent.
func TestOtherAddressesGetNothing(t *testing.T) {
	t.Parallel()
	at := serve(t, 0, echo)
	u := newTunnel(t, engineIP, token.Port{Protocol: "tcp", From: 1, To: 65535})
	for _, addr := range []netip.Addr{otherIP, netip.MustParseAddr("192.168.7.7"), netip.MustParseAddr("127.0.0.1")} {
		if err := u.engine.AddPeer(wg.Peer{PublicKey: u.agent.PublicKey(), AllowedIP: addr}); err != nil {
			t.Fatal(err)
		}
		if c, err := u.engine.DialTCP(within(t, never), netip.AddrPortFrom(addr, at)); err == nil {
			t.Errorf("%s answers: %v", addr, c.RemoteAddr())
		}
	}
	if tcp, pending, _ := u.gate.Flows(); tcp+pending != 0 {
		t.Errorf("%d flows came of that", tcp)
	}
}

func TestAllClosed(t *testing.T) {
	t.Parallel()
	at := serve(t, 0, echo)
	u := newTunnel(t, engineIP)
	for _, n := range []uint16{at, wire.ShellPort, 1, 65535} {
		if _, err := u.dial(t, "tcp", n); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("port %d/tcp: %v", n, err)
		}
		if _, err := u.dial(t, "udp", n); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("port %d/udp: %v", n, err)
		}
	}
}

func TestCloseEndsAll(t *testing.T) {
	t.Parallel()
	at, atUDP := serve(t, 0, echo), serveUDP(t, 0, nil)
	u := newTunnel(t, engineIP, port("tcp", at), port("udp", atUDP), port("tcp", wire.ShellPort))
	c, udp, shell := u.mustDial(t, "tcp", at), u.mustDial(t, "udp", atUDP), u.mustDial(t, "tcp", wire.ShellPort)
	for range 2 {
		u.gate.Close()
	}
	for name, conn := range map[string]net.Conn{"TCP": c, "UDP": udp, "shell": shell} {
		if err := ping(conn, soon); err == nil || silent(err) {
			t.Errorf("%s ends with %v", name, err)
		}
	}
	for protocol, n := range map[string]uint16{"tcp": at, "udp": atUDP} {
		if _, err := u.dial(t, protocol, n); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%d/%s after close: %v", n, protocol, err)
		}
	}
	if tcp, pending, udp := u.gate.Flows(); tcp+pending+udp != 0 {
		t.Errorf("%d, %d, %d flows are left", tcp, pending, udp)
	}
}
