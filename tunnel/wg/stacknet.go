package wg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// backlog is how many connections may wait to be accepted.
const backlog = 4096

// stackNetwork reaches the inside of the tunnel through the stack of this process.
type stackNetwork struct {
	stack     *stack.Stack
	address   netip.Addr
	reception *reception
}

// dialTCP implements network. While the peer has not answered, the stack repeats its SYN and
// WireGuard keeps it until the handshake is complete.
func (n *stackNetwork) dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if !to.Addr().Is4() {
		return nil, syscall.EAFNOSUPPORT
	}
	queue := new(waiter.Queue)
	ep, failed := n.stack.NewEndpoint(tcp.ProtocolNumber, header.IPv4ProtocolNumber, queue)
	if failed != nil {
		return nil, stackError(failed)
	}
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	queue.EventRegister(&entry)
	defer queue.EventUnregister(&entry)
	failed = ep.Bind(fullAddress(netip.AddrPortFrom(n.address, 0)))
	if failed == nil {
		failed = ep.Connect(fullAddress(to))
	}
	if _, started := failed.(*tcpip.ErrConnectStarted); started {
		select {
		case <-ctx.Done():
			ep.Abort()
			return nil, context.Cause(ctx)
		case <-ready:
		}
		failed = ep.LastError()
	}
	if failed != nil {
		ep.Close()
		return nil, stackError(failed)
	}
	return newStackConn(queue, ep), nil
}

// listenTCP implements network.
func (n *stackNetwork) listenTCP(at netip.AddrPort) (net.Listener, error) {
	queue := new(waiter.Queue)
	ep, failed := n.stack.NewEndpoint(tcp.ProtocolNumber, header.IPv4ProtocolNumber, queue)
	if failed != nil {
		return nil, stackError(failed)
	}
	failed = ep.Bind(fullAddress(at))
	if failed == nil {
		failed = ep.Listen(backlog)
	}
	if failed != nil {
		ep.Close()
		return nil, stackError(failed)
	}
	return &stackListener{TCPListener: gonet.NewTCPListener(n.stack, queue, ep), queue: queue, ep: ep}, nil
}

// stackListener is a listener whose errors are those of package net.
type stackListener struct {
	*gonet.TCPListener
	queue  *waiter.Queue
	ep     tcpip.Endpoint
	closed atomic.Bool
}

// Accept implements net.Listener.
func (l *stackListener) Accept() (net.Conn, error) {
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents)
	l.queue.EventRegister(&entry)
	defer l.queue.EventUnregister(&entry)
	for {
		ep, queue, failed := l.ep.Accept(nil)
		_, none := failed.(*tcpip.ErrWouldBlock)
		switch {
		case failed == nil:
			return newStackConn(queue, ep), nil
		case l.closed.Load():
			return nil, fmt.Errorf("accept: %w", net.ErrClosed)
		case !none:
			return nil, fmt.Errorf("accept: %w", stackError(failed))
		}
		<-ready
	}
}

// Close implements net.Listener. A waiting Accept returns.
func (l *stackListener) Close() error {
	if l.closed.Swap(true) {
		return closedTwice("listener")
	}
	return l.TCPListener.Close()
}

// stackConn is a connection whose errors are those of package net. Like [net.TCPConn] it has
// CloseWrite, CloseRead and SetLinger.
type stackConn struct {
	*gonet.TCPConn
	ep     tcpip.Endpoint
	closed atomic.Bool
}

// newStackConn makes one of a connected endpoint and the queue of its events.
func newStackConn(queue *waiter.Queue, ep tcpip.Endpoint) *stackConn {
	return &stackConn{TCPConn: gonet.NewTCPConn(queue, ep), ep: ep}
}

// SetLinger says what Close does with data that is not acknowledged yet, as [net.TCPConn] has it:
// with 0 it is thrown away and the other end gets a reset, with less than 0, the default, it is
// still sent.
func (c *stackConn) SetLinger(seconds int) error {
	c.ep.SocketOptions().SetLinger(tcpip.LingerOption{Enabled: seconds >= 0, Timeout: time.Duration(seconds) * time.Second})
	return nil
}

// Read implements net.Conn.
func (c *stackConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	return n, translate(&c.closed, "read", err)
}

// Write implements net.Conn.
func (c *stackConn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	return n, translate(&c.closed, "write", err)
}

// Close implements net.Conn. What was written before is still sent.
func (c *stackConn) Close() error {
	if c.closed.Swap(true) {
		return closedTwice("connection")
	}
	return c.TCPConn.Close()
}

// closedTwice is the error of closing what is closed already.
func closedTwice(what string) error { return fmt.Errorf("close %s: %w", what, net.ErrClosed) }

// translate gives an error the meaning that package net would give it.
func translate(closed *atomic.Bool, doing string, err error) error {
	if err != nil && closed.Load() {
		return fmt.Errorf("%s: %w", doing, net.ErrClosed)
	}
	return standardError(err)
}

// fullAddress is an address as the stack writes it.
func fullAddress(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(a.Addr().AsSlice()), Port: a.Port()}
}

// stackError turns an error of the stack into the system's error of the same meaning.
func stackError(err tcpip.Error) error {
	switch err.(type) {
	case *tcpip.ErrConnectionRefused:
		return syscall.ECONNREFUSED
	case *tcpip.ErrConnectionReset:
		return syscall.ECONNRESET
	case *tcpip.ErrConnectionAborted, *tcpip.ErrAborted:
		return syscall.ECONNABORTED
	case *tcpip.ErrTimeout:
		return syscall.ETIMEDOUT
	case *tcpip.ErrHostUnreachable, *tcpip.ErrHostDown:
		return syscall.EHOSTUNREACH
	case *tcpip.ErrNetworkUnreachable, *tcpip.ErrNoNet:
		return syscall.ENETUNREACH
	case *tcpip.ErrPortInUse:
		return syscall.EADDRINUSE
	case *tcpip.ErrBadLocalAddress:
		return syscall.EADDRNOTAVAIL
	case *tcpip.ErrClosedForSend:
		return syscall.EPIPE
	case *tcpip.ErrInvalidEndpointState:
		return net.ErrClosed
	}
	return errors.New(err.String())
}

// standardError does the same for an error that gonet reduced to a text.
func standardError(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) {
		return err
	}
	if op.Timeout() {
		return &net.OpError{Op: op.Op, Net: op.Net, Source: op.Source, Addr: op.Addr, Err: os.ErrDeadlineExceeded}
	}
	for _, known := range []tcpip.Error{
		&tcpip.ErrConnectionRefused{}, &tcpip.ErrConnectionReset{}, &tcpip.ErrConnectionAborted{}, &tcpip.ErrAborted{},
		&tcpip.ErrTimeout{}, &tcpip.ErrHostUnreachable{}, &tcpip.ErrNetworkUnreachable{}, &tcpip.ErrPortInUse{},
		&tcpip.ErrBadLocalAddress{}, &tcpip.ErrClosedForSend{}, &tcpip.ErrInvalidEndpointState{},
	} {
		if op.Err.Error() == known.String() {
			return &net.OpError{Op: op.Op, Net: op.Net, Source: op.Source, Addr: op.Addr, Err: stackError(known)}
		}
	}
	return err
}
