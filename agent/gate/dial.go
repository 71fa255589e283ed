package gate

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// dial connects to a port of this device, of network tcp4 or udp4.
func dial(ctx context.Context, network string, port uint16) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	dialer := net.Dialer{Control: failFast}
	c, err := dialer.DialContext(ctx, network, to.String())
	if err == nil && c.LocalAddr().String() == c.RemoteAddr().String() {
		_ = c.Close()
		return nil, errors.New("nobody listens, and the system chose the very port to dial from")
	}
	return c, err
}
