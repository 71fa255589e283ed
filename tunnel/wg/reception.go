package wg

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	maxAsking   = 1024             // TCP arrivals that are being decided about; more stay without an answer
	giveUpAgain = time.Millisecond // between attempts to end a handshake that is not wanted any more
)

// reception gets what comes for ports of a stack that nobody listens on.
type reception struct {
	stack    *stack.Stack
	closing  context.Context // ends when the link is closed
	arrivals atomic.Pointer[Arrivals]
	tcp      *tcp.Forwarder
}

// newReception makes the reception of a stack that carries no packet yet. Before its arrivals are
// set it refuses everything.
func newReception(closing context.Context, s *stack.Stack) *reception {
	r := &reception{stack: s, closing: closing}
	r.tcp = tcp.NewForwarder(s, startBuffer, maxAsking, r.askTCP)
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, r.deliverTCP)
	s.SetTransportProtocolHandler(udp.ProtocolNumber, r.deliverUDP)
	return r
}

// deliverTCP gets a packet that belongs to no connection. The stack resets what it does not take.
func (r *reception) deliverTCP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	if a := r.arrivals.Load(); a == nil || a.TCP == nil {
		return false
	}
	return r.tcp.HandlePacket(id, pkt)
}

// askTCP has a goroutine of its own.
func (r *reception) askTCP(request *tcp.ForwarderRequest) {
	id := request.ID()
	a := newArrival(id, &tcpDoor{reception: r, request: request, id: id})
	if ask := r.arrivals.Load().TCP; ask != nil {
		ask(a)
	}
	a.settle()
}

// deliverUDP gets a datagram that belongs to no flow. The stack answers what it does not take with
// ICMP port unreachable.
func (r *reception) deliverUDP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) (taken bool) {
	arrivals := r.arrivals.Load()
	if arrivals == nil || arrivals.UDP == nil {
		return false
	}
	udp.NewForwarder(r.stack, func(request *udp.ForwarderRequest) {
		a := newArrival(id, &udpDoor{reception: r, request: request})
		arrivals.UDP(a)
		taken = a.settle()
	}).HandlePacket(id, pkt)
	return taken
}

// newArrival returns the arrival that a packet of the stack means.
func newArrival(id stack.TransportEndpointID, d door) *Arrival {
	return &Arrival{
		From: netip.AddrPortFrom(netip.AddrFrom4(id.RemoteAddress.As4()), id.RemotePort),
		To:   netip.AddrPortFrom(netip.AddrFrom4(id.LocalAddress.As4()), id.LocalPort),
		door: d,
	}
}

// tcpDoor is where a SYN stands.
type tcpDoor struct {
	reception *reception
	request   *tcp.ForwarderRequest
	id        stack.TransportEndpointID
}

// open implements door: it completes the handshake.
func (d *tcpDoor) open(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.reception.closing, cancel)()

	queue, ended, gaveUp := new(waiter.Queue), make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(gaveUp); d.giveUp(ended) })
	ep, failed := d.request.CreateEndpoint(queue)
	close(ended)
	if !stop() {
		<-gaveUp
	}
	d.request.Complete(failed != nil)
	switch {
	case failed == nil && ctx.Err() == nil:
		return newStackConn(queue, ep), nil
	case failed == nil:
		d.reset(newStackConn(queue, ep))
		return nil, context.Cause(ctx)
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return nil, stackError(failed)
}

// giveUp ends a handshake that the stack waits for. The stack is to do it in its own order, for to
// wake the one who waits before that crashes it. It is tried until the waiting has ended, for the
// first time may be before there is a handshake.
func (d *tcpDoor) giveUp(ended <-chan struct{}) {
	again := time.NewTicker(giveUpAgain)
	defer again.Stop()
	for {
		ep := d.reception.stack.FindTransportEndpoint(header.IPv4ProtocolNumber, tcp.ProtocolNumber, d.id, nic)
		// What is found may be a listener, which goes by another id.
		if ep, ok := ep.(*tcp.Endpoint); ok && ep.Info().(*stack.TransportEndpointInfo).ID == d.id {
			ep.Abort()
		}
		select {
		case <-ended:
			return
		case <-again.C:
		}
	}
}

// refuse implements door.
func (d *tcpDoor) refuse() { d.request.Complete(true) }

// reset implements door.
func (d *tcpDoor) reset(c net.Conn) {
	_ = c.(*stackConn).SetLinger(0)
	_ = c.Close() // nothing is to be done when it was closed before
}

// udpDoor is where the first datagram of a flow stands.
type udpDoor struct {
	reception *reception
	request   *udp.ForwarderRequest
}

// open implements door.
func (d *udpDoor) open(context.Context) (net.Conn, error) {
	queue := new(waiter.Queue)
	ep, failed := d.request.CreateEndpoint(queue)
	if failed != nil {
		return nil, stackError(failed)
	}
	return newStackUDP(queue, ep), nil
}

// refuse implements door: the stack answers by itself.
func (d *udpDoor) refuse() {}

// reset implements door. The datagram that the report is about is long gone; its headers suffice.
func (d *udpDoor) reset(c net.Conn) {
	_ = c.Close()
	id := d.request.ID()
	route, failed := d.reception.stack.FindRoute(nic, id.LocalAddress, id.RemoteAddress, header.IPv4ProtocolNumber, false)
	if failed != nil {
		return // the stack is closing
	}
	defer route.Release()
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: int(route.MaxHeaderLength()) + header.ICMPv4MinimumSize,
		Payload:            buffer.MakeWithData(headersOf(id)),
	})
	defer pkt.DecRef()
	pkt.TransportProtocolNumber = header.ICMPv4ProtocolNumber
	report := header.ICMPv4(pkt.TransportHeader().Push(header.ICMPv4MinimumSize))
	report.SetType(header.ICMPv4DstUnreachable)
	report.SetCode(header.ICMPv4PortUnreachable)
	report.SetChecksum(header.ICMPv4Checksum(report, pkt.Data().Checksum()))
	as := stack.NetworkHeaderParams{Protocol: header.ICMPv4ProtocolNumber, TTL: route.DefaultTTL(), TOS: stack.DefaultTOS}
	_ = route.WritePacket(as, pkt) // lost reports are for the other end's patience
}

// headersOf returns an empty datagram as it came in.
func headersOf(id stack.TransportEndpointID) []byte {
	const length = header.IPv4MinimumSize + header.UDPMinimumSize
	b := make([]byte, length)
	ip := header.IPv4(b)
	ip.Encode(&header.IPv4Fields{
		TotalLength: length, TTL: 64, Protocol: uint8(header.UDPProtocolNumber),
		SrcAddr: id.RemoteAddress, DstAddr: id.LocalAddress,
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	header.UDP(ip.Payload()).Encode(&header.UDPFields{
		SrcPort: id.RemotePort, DstPort: id.LocalPort, Length: header.UDPMinimumSize,
	})
	return b
}
