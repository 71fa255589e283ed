package gate

import (
	"context"
	"fmt"
	"net"
	"sync"

	"borealis/agent/wire"
	"borealis/tunnel/wg"
)

// serveShell accepts a connection to the shell, unless nobody would.
func (g *Gate) serveShell(ctx context.Context, f *flow, a *wg.Arrival) {
	if g.shell.isClosed() {
		a.Refuse()
		return
	}
	c, err := a.Accept(ctx)
	if err != nil {
		return
	}
	g.open(f)
	g.handOver(ctx, f, c)
}

// handOver hands a connection to whoever accepts those of the shell, and waits until
// that has closed it.
func (g *Gate) handOver(ctx context.Context, f *flow, c net.Conn) {
	handed := &shellConn{Conn: c, gone: make(chan struct{})}
	select {
	case g.shell.conns <- handed:
	case <-g.shell.done:
		f.refuse()
		return
	case <-ctx.Done(): // Cut, which has reset it.
		return
	}
	select {
	case <-handed.gone:
	case <-ctx.Done():
	}
}

// shellConn is a connection that says when it is closed.
type shellConn struct {
	net.Conn
	gone chan struct{}
	once sync.Once
}

// Close implements net.Conn.
func (c *shellConn) Close() error {
	c.once.Do(func() { close(c.gone) })
	return c.Conn.Close()
}

// listener is where connections to the shell come out.
type listener struct {
	conns chan net.Conn
	done  chan struct{} // Closed with the listener.
	once  sync.Once
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	if l.isClosed() {
		return nil, fmt.Errorf("accept: %w", net.ErrClosed)
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, fmt.Errorf("accept: %w", net.ErrClosed)
	}
}

// Close implements net.Listener. It may be called more than once.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return &net.TCPAddr{Port: wire.ShellPort} }

func (l *listener) isClosed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}
