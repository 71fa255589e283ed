package wg

import (
	"context"
	"net/netip"
	"os"
	"sync"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/stack/gro"
)

// queueLength is how many outbound packets the stack may have waiting for encryption.
const queueLength = 1024

// stackLink joins a network stack to a WireGuard device: to the one it is a network card, to the
// other a TUN device. Packets cross in batches. Big TCP segments of the stack are cut to size
// only here, and inbound segments of one connection are joined before the stack sees them.
type stackLink struct {
	stack    *stack.Stack
	endpoint *channel.Endpoint
	address  [4]byte
	mtu      int
	events   chan tun.Event
	joiners  sync.Pool // of *gro.GRO

	ctx    context.Context // ends when the link is closed
	cancel context.CancelFunc
	once   sync.Once

	pending segments // what is left of a big segment; only Read touches it
}

// newStackLink makes the link. It sends no events; its owner takes the device up.
func newStackLink(s *stack.Stack, address netip.Addr, mtu int) *stackLink {
	l := &stackLink{
		stack:    s,
		endpoint: channel.New(queueLength, uint32(mtu), ""), //nolint:gosec // checked by Config
		address:  address.As4(),
		mtu:      mtu,
		events:   make(chan tun.Event),
	}
	l.endpoint.SupportedGSOKind = stack.HostGSOSupported
	// Outbound checksums are computed here; inbound ones are moot, the tunnel authenticates.
	l.endpoint.LinkEPCapabilities = stack.CapabilityTXChecksumOffload | stack.CapabilityRXChecksumOffload
	l.joiners.New = func() any {
		g := &gro.GRO{Dispatcher: dispatcher{l.endpoint}}
		g.Init(true)
		return g
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// Name, File, MTU, Events and BatchSize implement tun.Device.
func (l *stackLink) Name() (string, error)    { return "netstack", nil }
func (l *stackLink) File() *os.File           { return nil }
func (l *stackLink) MTU() (int, error)        { return l.mtu, nil }
func (l *stackLink) Events() <-chan tun.Event { return l.events }
func (l *stackLink) BatchSize() int           { return conn.IdealBatchSize }

// Close implements tun.Device. Every connection of the stack is dead afterwards.
func (l *stackLink) Close() error {
	l.once.Do(func() {
		l.cancel()
		l.stack.Destroy()
		l.endpoint.Close()
		close(l.events)
	})
	return nil
}

// Read implements tun.Device: it waits for a packet of the stack and takes as many as there are.
func (l *stackLink) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n := 0
	for n < len(bufs) {
		if l.pending.empty() {
			pkt := l.endpoint.Read()
			if pkt == nil && n > 0 {
				break
			}
			if pkt == nil {
				if pkt = l.endpoint.ReadContext(l.ctx); pkt == nil {
					return 0, os.ErrClosed
				}
			}
			l.pending.load(pkt)
			pkt.DecRef()
		}
		sizes[n] = l.pending.next(bufs[n][offset:])
		n++
	}
	return n, nil
}

// Write implements tun.Device: it hands decrypted packets to the stack.
func (l *stackLink) Write(bufs [][]byte, offset int) (int, error) {
	g := l.joiners.Get().(*gro.GRO)
	defer l.joiners.Put(g)
	for _, b := range bufs {
		packet := b[offset:]
		if !l.welcome(packet) {
			continue
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
		pkt.NetworkProtocolNumber = header.IPv4ProtocolNumber
		pkt.RXChecksumValidated = true
		g.Enqueue(pkt)
		pkt.DecRef()
	}
	g.Flush()
	return len(bufs), nil
}

// welcome reports whether the stack is to see a packet: IPv4 to this end's address, TCP, UDP or the
// report that something was unreachable. Everything else, a ping too, stays without an answer.
func (l *stackLink) welcome(packet []byte) bool {
	if len(packet) < header.IPv4MinimumSize || packet[0]>>4 != header.IPv4Version {
		return false
	}
	ip := header.IPv4(packet)
	if ip.DestinationAddress() != tcpip.AddrFrom4(l.address) {
		return false
	}
	switch ip.TransportProtocol() {
	case header.TCPProtocolNumber, header.UDPProtocolNumber:
		return true
	case header.ICMPv4ProtocolNumber:
		at := int(ip.HeaderLength())
		return at < len(packet) && header.ICMPv4Type(packet[at]) == header.ICMPv4DstUnreachable
	}
	return false
}

// dispatcher lets a joiner deliver into a link endpoint.
type dispatcher struct {
	endpoint *channel.Endpoint
}

// DeliverNetworkPacket implements stack.NetworkDispatcher.
func (d dispatcher) DeliverNetworkPacket(protocol tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	d.endpoint.InjectInbound(protocol, pkt)
}

// DeliverLinkPacket implements stack.NetworkDispatcher; nobody listens below IP.
func (d dispatcher) DeliverLinkPacket(tcpip.NetworkProtocolNumber, *stack.PacketBuffer) {}
