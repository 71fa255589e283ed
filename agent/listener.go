package agent

import (
	"log/slog"
	"net"
	"net/netip"
)

// engineOnly accepts connections from the engine's address in the tunnel and
// closes all others. WireGuard's allowed address says the same; this is the
// second lock on the door.
type engineOnly struct {
	net.Listener
	engine netip.Addr
	tunnel string
	log    *slog.Logger
}

// Accept returns the engine's next connection.
func (l *engineOnly) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, err := netip.ParseAddrPort(c.RemoteAddr().String())
		if err == nil && from.Addr().Unmap() == l.engine {
			return c, nil
		}
		l.log.Warn("shell_refused", "tunnel", l.tunnel, "addr", c.RemoteAddr(), "reason", "not the engine")
		c.Close()
	}
}
