package wg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/windows"
)

// exclusive is SO_EXCLUSIVEADDRUSE, which is ^SO_REUSEADDR: no other program may take the port too.
const exclusive = ^windows.SO_REUSEADDR

// hostNetwork reaches the inside of the tunnel through Windows' own stack. A socket that is bound
// to the adapter's address sends through no other adapter.
type hostNetwork struct {
	address netip.Addr
}

// dialTCP implements network.
func (n *hostNetwork) dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(n.address, 0))}
	return dialer.DialContext(ctx, "tcp4", to.String())
}

// dialUDP implements network.
func (n *hostNetwork) dialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(n.address, 0))}
	return dialer.DialContext(ctx, "udp4", to.String())
}

// listenTCP implements network.
func (n *hostNetwork) listenTCP(at netip.AddrPort) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, exclusive, 1)
		})
		return errors.Join(err, failed)
	}}
	return config.Listen(context.Background(), "tcp4", at.String())
}

// flows implements network. Nobody asks on Windows, where no engine runs.
func (n *hostNetwork) flows(netip.Addr) ([]Flow, error) {
	return nil, fmt.Errorf("list the sockets of Windows: %w", errors.ErrUnsupported)
}
