package wg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// acceptTimeout is how long the other end may take to complete a connection that was accepted.
const acceptTimeout = 10 * time.Second

// Arrivals decides about what comes for ports of this end that nobody listens on. A function that
// is nil refuses.
type Arrivals struct {
	// TCP is called for each connection that somebody wants to open, in a goroutine of its own. It
	// may take its time, and has decided when it returns.
	TCP func(*Arrival)
	// UDP is called for the first datagram of each flow, by the goroutine that carries all packets.
	// It has decided when it returns, which must be at once.
	UDP func(*Arrival)
}

// Receive lets a decide, from now on. A listener of [Interface.ListenTCP] keeps its port to itself.
// It is for mode Netstack only: in the others the host's own stack answers, and Receive returns
// [errors.ErrUnsupported].
func (i *Interface) Receive(a Arrivals) error {
	n, ok := i.net.(*stackNetwork)
	if !ok {
		return fmt.Errorf("receive what arrives in mode %s: %w", i.mode, errors.ErrUnsupported)
	}
	n.reception.arrivals.Store(&a)
	return nil
}

// An Arrival is a connection, or a flow of datagrams, that somebody in the tunnel wants to open to
// a port of this end. It is accepted or refused; refused if whoever was asked does neither. Its
// methods may be called concurrently.
type Arrival struct {
	From, To netip.AddrPort // who wants it, and the port; To has this end's address

	door door

	mu     sync.Mutex
	state  arrivalState
	cancel context.CancelFunc // ends the opening
	conn   net.Conn           // once open
}

type arrivalState int

const (
	asked arrivalState = iota
	opening
	opened
	over
)

// door is what an arrival of one protocol stands at.
type door interface {
	open(ctx context.Context) (net.Conn, error)
	refuse()        // instead of open
	reset(net.Conn) // after open
}

// Accept opens the connection, and completes it with the other end if the protocol is TCP. The
// caller closes it. Like [net.TCPConn] it has CloseWrite and CloseRead if it is of TCP. It fails
// with [net.ErrClosed] once the arrival was accepted or refused already, or the interface closed.
func (a *Arrival) Accept(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, acceptTimeout)
	defer cancel()
	if !a.begin(cancel) {
		return nil, fmt.Errorf("accept %s: %w", a.From, net.ErrClosed)
	}
	conn, err := a.door.open(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	refused := a.state == over
	a.state = over
	if err != nil {
		return nil, fmt.Errorf("accept %s: %w", a.From, err)
	}
	if refused {
		a.door.reset(conn)
		return nil, fmt.Errorf("accept %s: %w", a.From, net.ErrClosed)
	}
	a.state, a.conn = opened, conn
	return conn, nil
}

// begin reports whether the arrival is still to be decided about, and now decided.
func (a *Arrival) begin(cancel context.CancelFunc) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state != asked {
		return false
	}
	a.state, a.cancel = opening, cancel
	return true
}

// Refuse answers as a port does on which nobody listens: TCP with a reset, UDP with ICMP port
// unreachable. A connection that was accepted is closed and reset, at whatever point it is. It may
// be called more than once.
func (a *Arrival) Refuse() {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch a.state {
	case asked:
		a.door.refuse()
	case opening:
		a.cancel()
	case opened:
		a.door.reset(a.conn)
	}
	a.state = over
}

// settle refuses an arrival that is not decided, and reports whether it was accepted.
func (a *Arrival) settle() bool {
	a.mu.Lock()
	accepted := a.conn != nil
	a.mu.Unlock()
	if !accepted {
		a.Refuse()
	}
	return accepted
}
