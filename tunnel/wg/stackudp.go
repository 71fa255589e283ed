package wg

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// dialUDP implements network.
func (n *stackNetwork) dialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if !to.Addr().Is4() {
		return nil, syscall.EAFNOSUPPORT
	}
	queue := new(waiter.Queue)
	ep, failed := n.stack.NewEndpoint(udp.ProtocolNumber, header.IPv4ProtocolNumber, queue)
	if failed != nil {
		return nil, stackError(failed)
	}
	failed = ep.Bind(fullAddress(netip.AddrPortFrom(n.address, 0)))
	if failed == nil {
		failed = ep.Connect(fullAddress(to))
	}
	if failed != nil {
		ep.Close()
		return nil, stackError(failed)
	}
	return newStackUDP(queue, ep), nil
}

// stackUDP is a connected UDP socket whose errors are those of package net.
type stackUDP struct {
	*gonet.UDPConn
	closed atomic.Bool
}

// newStackUDP makes one of a connected endpoint and the queue of its events. A Read of gonet
// sleeps through the news that the other end is unreachable; so gonet gets a queue of its own, and
// there that news wakes it.
func newStackUDP(events *waiter.Queue, ep tcpip.Endpoint) *stackUDP {
	queue := new(waiter.Queue)
	all := waiter.ReadableEvents | waiter.WritableEvents | waiter.EventErr | waiter.EventHUp
	entry := waiter.NewFunctionEntry(all, func(seen waiter.EventMask) { queue.Notify(seen | waiter.ReadableEvents) })
	events.EventRegister(&entry)
	return &stackUDP{UDPConn: gonet.NewUDPConn(queue, ep)}
}

// Read implements net.Conn.
func (c *stackUDP) Read(b []byte) (int, error) {
	n, err := c.UDPConn.Read(b)
	return n, translate(&c.closed, "read", err)
}

// Write implements net.Conn.
func (c *stackUDP) Write(b []byte) (int, error) {
	n, err := c.UDPConn.Write(b)
	return n, translate(&c.closed, "write", err)
}

// Close implements net.Conn.
func (c *stackUDP) Close() error {
	if c.closed.Swap(true) {
		return closedTwice("connection")
	}
	return c.UDPConn.Close()
}

// flows implements network. A connection whose other end has closed first is open still.
func (n *stackNetwork) flows(to netip.Addr) ([]Flow, error) {
	if !to.Is4() {
		return nil, syscall.EAFNOSUPPORT
	}
	var open []Flow
	for _, e := range n.stack.RegisteredEndpoints() {
		ep, ok := e.(tcpip.Endpoint)
		if !ok {
			continue
		}
		info, ok := ep.Info().(*stack.TransportEndpointInfo)
		if !ok || info.ID.RemoteAddress != tcpip.AddrFrom4(to.As4()) {
			continue
		}
		switch info.TransProto {
		case tcp.ProtocolNumber:
			if s := ep.State(); s == uint32(tcp.StateEstablished) || s == uint32(tcp.StateCloseWait) {
				open = append(open, Flow{Protocol: "tcp", Port: info.ID.RemotePort})
			}
		case udp.ProtocolNumber:
			open = append(open, Flow{Protocol: "udp", Port: info.ID.RemotePort})
		}
	}
	return open, nil
}
