package wg

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	firstRetry = 2 * time.Millisecond
	lastRetry  = 100 * time.Millisecond
)

// hostNetwork reaches the inside of the tunnel through the host's own stack. Every socket is
// bound to the link, so nothing leaves by another way when a route is lost.
type hostNetwork struct {
	name    string
	address netip.Addr
	done    <-chan struct{}
}

// dialTCP implements network. The kernel's WireGuard refuses packets for a peer that has not
// spoken yet, where user space would keep them; so that is tried again.
func (n *hostNetwork) dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	local := net.TCPAddrFromAddrPort(netip.AddrPortFrom(n.address, 0))
	dialer := net.Dialer{LocalAddr: local, Control: n.bind}
	pause := firstRetry
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		conn, err := dialer.DialContext(ctx, "tcp4", to.String())
		if !errors.Is(err, syscall.EHOSTUNREACH) && !errors.Is(err, syscall.ENETUNREACH) {
			return conn, err
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-n.done:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), err)
		}
		pause = min(2*pause, lastRetry)
	}
}

// listenTCP implements network.
func (n *hostNetwork) listenTCP(at netip.AddrPort) (net.Listener, error) {
	config := net.ListenConfig{Control: n.bind}
	return config.Listen(context.Background(), "tcp4", at.String())
}

// bind binds a new socket to the link.
func (n *hostNetwork) bind(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.BindToDevice(int(fd), n.name)
	})
	return errors.Join(err, failed)
}
