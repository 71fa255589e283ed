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

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// stackNetwork reaches the inside of the tunnel through the stack of this process.
type stackNetwork struct {
	stack   *stack.Stack
	address netip.Addr
}

// dialTCP implements network. While the peer has not answered, the stack repeats its SYN and
// WireGuard keeps it until the handshake is complete.
func (n *stackNetwork) dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if !to.Addr().Is4() {
		return nil, syscall.EAFNOSUPPORT
	}
	var queue waiter.Queue
	ep, failed := n.stack.NewEndpoint(tcp.ProtocolNumber, header.IPv4ProtocolNumber, &queue)
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
	return &stackConn{TCPConn: gonet.NewTCPConn(&queue, ep)}, nil
}

// listenTCP implements network.
func (n *stackNetwork) listenTCP(at netip.AddrPort) (net.Listener, error) {
	l, err := gonet.ListenTCP(n.stack, fullAddress(at), header.IPv4ProtocolNumber)
	if err != nil {
		return nil, standardError(err)
	}
	return &stackListener{TCPListener: l}, nil
}

// stackListener is a listener whose errors are those of package net.
type stackListener struct {
	*gonet.TCPListener
	closed atomic.Bool
}

// Accept implements net.Listener.
func (l *stackListener) Accept() (net.Conn, error) {
	c, err := l.TCPListener.Accept()
	switch {
	case err == nil:
		return &stackConn{TCPConn: c.(*gonet.TCPConn)}, nil
	case l.closed.Load():
		return nil, fmt.Errorf("accept: %w", net.ErrClosed)
	}
	return nil, standardError(err)
}

// Close implements net.Listener. A waiting Accept returns.
func (l *stackListener) Close() error {
	if l.closed.Swap(true) {
		return fmt.Errorf("close listener: %w", net.ErrClosed)
	}
	l.Shutdown()
	return l.TCPListener.Close()
}

// stackConn is a connection whose errors are those of package net. Like [net.TCPConn] it has
// CloseWrite and CloseRead.
type stackConn struct {
	*gonet.TCPConn
	closed atomic.Bool
}

// Read implements net.Conn.
func (c *stackConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	return n, c.translate("read", err)
}

// Write implements net.Conn.
func (c *stackConn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	return n, c.translate("write", err)
}

// Close implements net.Conn. What was written before is still sent.
func (c *stackConn) Close() error {
	if c.closed.Swap(true) {
		return fmt.Errorf("close connection: %w", net.ErrClosed)
	}
	return c.TCPConn.Close()
}

// translate gives an error the meaning that package net would give it.
func (c *stackConn) translate(doing string, err error) error {
	if err != nil && c.closed.Load() {
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
