package gate

import (
	"net"
	"net/netip"
	"time"

	"borealis/tunnel/wg"
)

// ForgetAfter makes a gate forget flows of UDP that are idle for d.
func (g *Gate) ForgetAfter(d time.Duration) { g.idle = d }

// Flows returns how many flows there are, and how many of them are not open yet.
func (g *Gate) Flows() (tcp, pending, udp int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tcp, g.pending, g.udp
}

// GuardHost puts a gate up on a host with a filter, as Guard does in mode wireguard-nt.
func (g *Gate) GuardHost(filter func(netip.Addr, []wg.Allowed) error, listen func() (net.Listener, error)) error {
	return g.guardHost(filter, listen)
}
