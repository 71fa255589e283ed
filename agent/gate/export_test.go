package gate

import "time"

// ForgetAfter makes a gate forget flows of UDP that are idle for d.
func (g *Gate) ForgetAfter(d time.Duration) { g.idle = d }

// Flows returns how many flows there are, and how many of them are not open yet.
func (g *Gate) Flows() (tcp, pending, udp int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tcp, g.pending, g.udp
}
