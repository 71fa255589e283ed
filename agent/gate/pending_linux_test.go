package gate_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"borealis/agent/gate"
	"borealis/tunnel/token"
)

// TestPendingLimit dials a port of the device that neither answers nor refuses.
func TestPendingLimit(t *testing.T) {
	t.Parallel()
	quick := serve(t, 0, echo)
	slow, release := fullListener(t)
	u := newTunnel(t, engineIP, port("tcp", slow), port("tcp", quick))
	ctx, stop := context.WithCancel(t.Context())
	var dialling sync.WaitGroup
	for range gate.MaxPending {
		dialling.Go(func() {
			if c, err := u.engine.DialTCP(ctx, netip.AddrPortFrom(agentIP, slow)); err == nil {
				c.Close()
			}
		})
	}
	eventually(t, "all are pending", func() bool { _, pending, _ := u.gate.Flows(); return pending == gate.MaxPending })
	if _, err := u.dial(t, "tcp", quick); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("one more: %v", err)
	}
	if got := u.log.lines("msg=gate_refused", "not open yet"); len(got) != 1 {
		t.Errorf("the log has %d lines about that: %q", len(got), got)
	}
	if err := u.gate.Set(1, []token.Port{port("tcp", quick)}); err != nil {
		t.Fatal(err)
	}
	dialling.Wait() // Closing the port has refused them all, without waiting for the device.
	u.mustDial(t, "tcp", quick)
	stop()
	release()
}

// fullListener listens on a port of the device whose queue is full until it is released.
func fullListener(t *testing.T) (port uint16, release func()) {
	t.Helper()
	fd, port := bound(t)
	release = sync.OnceFunc(func() { syscall.Close(fd) })
	t.Cleanup(release)
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	for { // until one is not taken any more
		dialer := net.Dialer{Timeout: never}
		c, err := dialer.DialContext(t.Context(), "tcp4", at.String())
		if err != nil {
			return port, release
		}
		t.Cleanup(func() { c.Close() })
	}
}

// bound returns a TCP socket that has a port of the device and does not listen.
func bound(t testing.TB) (fd int, port uint16) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, uint16(name.(*syscall.SockaddrInet4).Port)
}
