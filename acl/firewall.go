package acl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
)

// ErrRefused says that the plan does not allow a port.
var ErrRefused = errors.New("port is not allowed")

// A Plan is the whole wanted state: for each live tunnel's virtual address the
// ports that the engine may reach behind it. An address that is missing is closed.
type Plan map[netip.Addr][]Port

// Clone returns a copy that shares nothing with p.
func (p Plan) Clone() Plan {
	c := make(Plan, len(p))
	for addr, ports := range p {
		c[addr] = slices.Clone(ports)
	}
	return c
}

// A Firewall makes a plan true. Set is idempotent, replaces the plan before it as
// a whole, and changes nothing when it fails. It is safe for concurrent use.
type Firewall interface {
	Set(ctx context.Context, plan Plan) error
}

// A Guard is the firewall of the engine's own dialer: whatever opens a connection
// into a tunnel asks it first. It works in every mode and needs no privilege.
// The zero value refuses everything.
type Guard struct {
	mu   sync.RWMutex
	plan Plan
}

// Set makes plan the one that Check asks.
func (g *Guard) Set(_ context.Context, plan Plan) error {
	plan = plan.Clone()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.plan = plan
	return nil
}

// Check returns nil when the plan allows a connection, else an error that is [ErrRefused].
func (g *Guard) Check(protocol string, to netip.AddrPort) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if Contains(g.plan[to.Addr()], protocol, to.Port()) {
		return nil
	}
	return fmt.Errorf("%d/%s of %s: %w", to.Port(), protocol, to.Addr(), ErrRefused)
}
