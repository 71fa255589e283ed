package wg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
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

// dialUDP implements network.
func (n *hostNetwork) dialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	local := net.UDPAddrFromAddrPort(netip.AddrPortFrom(n.address, 0))
	dialer := net.Dialer{LocalAddr: local, Control: n.bind}
	return dialer.DialContext(ctx, "udp4", to.String())
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

// flows implements network: it asks the kernel for the host's sockets. A socket of IPv6 may be
// connected to an IPv4 address too.
func (n *hostNetwork) flows(to netip.Addr) ([]Flow, error) {
	var found []Flow
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		tcp, err := netlink.SocketDiagTCP(family)
		if err != nil {
			return nil, fmt.Errorf("list TCP sockets: %w", err)
		}
		udp, err := netlink.SocketDiagUDP(family)
		if err != nil {
			return nil, fmt.Errorf("list UDP sockets: %w", err)
		}
		found = append(found, openTo(to, "tcp", tcp)...)
		found = append(found, openTo(to, "udp", udp)...)
	}
	return found, nil
}

// openTo picks the sockets that are connected to an address. The kernel calls a connected UDP
// socket established too. One whose other end has closed first is open still.
func openTo(to netip.Addr, protocol string, sockets []*netlink.Socket) []Flow {
	var open []Flow
	for _, s := range sockets {
		remote, _ := netip.AddrFromSlice(s.ID.Destination)
		connected := s.State == netlink.TCP_ESTABLISHED || s.State == netlink.TCP_CLOSE_WAIT
		if connected && remote.Unmap() == to {
			open = append(open, Flow{Protocol: protocol, Port: s.ID.DestinationPort})
		}
	}
	return open
}
