package tunnel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"borealis/acl"
)

const planTimeout = 10 * time.Second // for the firewalls to take one plan

// A planner keeps the firewalls at the plan of the live tunnels. Callers that come
// while the firewalls are being set wait together, and the next setting is for all
// of them: a thousand tunnels cost a few settings, not a thousand.
type planner struct {
	guard *acl.Guard
	turn  chan struct{} // holds one token; who has it sets the firewalls

	// Only for who has the turn.
	host acl.Firewall // of the host; nil while there is none
	plan acl.Plan     // what is wanted

	mu   sync.Mutex
	next *group // waits for the turn; nil when nobody does
}

// A group is the changes that are made by one setting of the firewalls.
type group struct {
	changes map[netip.Addr][]acl.Port // nil closes an address
	done    chan struct{}             // closed when err is final
	err     error
}

func newPlanner(guard *acl.Guard) *planner {
	return &planner{guard: guard, turn: make(chan struct{}, 1), plan: make(acl.Plan)}
}

// set opens the ports of one address, or closes the address when ports is nil. It
// waits until that is in force. When a firewall refuses, everybody of the group is
// told so, and what they wanted opened stays as it was.
func (p *planner) set(ctx context.Context, addr netip.Addr, ports []acl.Port) error {
	p.mu.Lock()
	g := p.next
	if g == nil {
		g = &group{changes: make(map[netip.Addr][]acl.Port), done: make(chan struct{})}
		p.next = g
	}
	g.changes[addr] = ports
	p.mu.Unlock()
	select {
	case <-g.done:
	case p.turn <- struct{}{}:
		p.commit(ctx, g)
		<-p.turn
	}
	return g.err
}

// commit makes the changes of a group, unless somebody did while this one waited for
// the turn, which it has.
func (p *planner) commit(ctx context.Context, g *group) {
	p.mu.Lock()
	waiting := p.next == g
	if waiting {
		p.next = nil // who comes from here on is of the next group
	}
	p.mu.Unlock()
	if !waiting {
		return
	}
	defer close(g.done)
	want, back := maps.Clone(p.plan), maps.Clone(p.plan)
	for addr, ports := range g.changes {
		if ports == nil {
			delete(want, addr)
			delete(back, addr) // what is to be closed is not opened again
		} else {
			want[addr] = ports
		}
	}
	if g.err = p.force(ctx, want); g.err != nil {
		p.plan = back
		g.err = errors.Join(g.err, p.guard.Set(ctx, back))
		return
	}
	p.plan = want
}

// force sets the firewalls, the engine's own dialer first.
func (p *planner) force(ctx context.Context, plan acl.Plan) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), planTimeout)
	defer cancel()
	err := p.guard.Set(ctx, plan)
	if err == nil && p.host != nil {
		err = p.host.Set(ctx, plan)
	}
	if err != nil {
		return fmt.Errorf("set the firewall: %w", err)
	}
	return nil
}

// setHost makes f the firewall of the host; nil when there is none any more. No
// tunnel is there then.
func (p *planner) setHost(f acl.Firewall) {
	p.turn <- struct{}{}
	p.host = f
	<-p.turn
}

// refresh sets the firewalls again to what is wanted.
func (p *planner) refresh(ctx context.Context) error {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	return p.force(ctx, p.plan)
}
