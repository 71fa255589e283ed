package wg

import (
	"fmt"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	wgdevice "golang.zx2c4.com/wireguard/device"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	nic = 1 // the stack's only network interface

	// Buffers of one connection inside the stack: they start small enough for a thousand idle
	// shells and may grow to what a long fat line needs.
	minBuffer     = 4 << 10
	startBuffer   = 1 << 20
	maxSendBuffer = 6 << 20
	maxReadBuffer = 8 << 20

	// Loss is common where agents are, and a terminal must not wait for what the stack's own
	// limit of two minutes between two repetitions allows: a line that is back is used within
	// two seconds by connections that are open. The stack gives up a peer whose window stays shut and who answers no probe
	// after about as long as ever, a quarter of an hour.
	maxRepeat  = 2 * time.Second
	maxRepeats = uint64(15 * time.Minute / maxRepeat)
)

// openNetstack opens an interface that lives in this process: WireGuard on a UDP socket, and a
// TCP/IP stack of its own. Nobody else on the host can send through it.
func openNetstack(c Config) (_ *device, err error) {
	d := &device{done: make(chan struct{})}
	defer func() {
		if err != nil {
			_ = d.undo.run()
		}
	}()
	s, err := newStack()
	if err != nil {
		return nil, fmt.Errorf("make network stack: %w", err)
	}
	link, err := attach(s, c.Address, c.MTU)
	if err != nil {
		s.Destroy()
		return nil, fmt.Errorf("set up network stack: %w", err)
	}
	reception := newReception(link.ctx, s)
	dev := wgdevice.NewDevice(link, conn.NewDefaultBind(), deviceLogger(c.Logger))
	d.undo.add(func() error { dev.Close(); <-d.done; return nil })
	go func() { <-dev.Wait(); close(d.done) }()

	t := &ipcTable{dev: dev}
	if d.port, err = t.start(c); err != nil {
		return nil, err
	}
	d.table, d.net = t, &stackNetwork{stack: s, address: c.Address, reception: reception}
	return d, nil
}

// newStack makes a stack that speaks IPv4, TCP and UDP only, tuned for keystrokes first: no Nagle
// delay, selective acknowledgements, RACK-TLP (RFC 8985), which finds a lost repetition and a lost
// end without a timeout, and timeouts that stay short. The stack takes an old timestamp's age for
// a round trip when both directions lose packets, and its timeouts grow by that.
func newStack() (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
		HandleLocal:        true,
	})
	sack, delay, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPDelayEnabled(false), tcpip.TCPModerateReceiveBufferOption(true)
	recovery := tcpip.TCPRACKLossDetection
	repeat, repeats := tcpip.TCPMaxRTOOption(maxRepeat), tcpip.TCPMaxRetriesOption(maxRepeats)
	congestion := tcpip.CongestionControlOption("reno")
	read := tcpip.TCPReceiveBufferSizeRangeOption{Min: minBuffer, Default: startBuffer, Max: maxReadBuffer}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: minBuffer, Default: startBuffer, Max: maxSendBuffer}
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &delay, &moderate, &recovery, &repeat, &repeats, &congestion, &read, &send} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			s.Destroy()
			return nil, fmt.Errorf("set %T: %w", o, stackError(err))
		}
	}
	return s, nil
}

// attach gives the stack its network interface with one address, and a route to everything.
func attach(s *stack.Stack, address netip.Addr, mtu int) (*stackLink, error) {
	link := newStackLink(s, address, mtu)
	if err := s.CreateNIC(nic, link.endpoint); err != nil {
		return nil, fmt.Errorf("make interface: %w", stackError(err))
	}
	at := tcpip.ProtocolAddress{
		Protocol:          header.IPv4ProtocolNumber,
		AddressWithPrefix: tcpip.AddrFrom4(address.As4()).WithPrefix(),
	}
	if err := s.AddProtocolAddress(nic, at, stack.AddressProperties{}); err != nil {
		return nil, fmt.Errorf("set address: %w", stackError(err))
	}
	s.AddRoute(tcpip.Route{Destination: header.IPv4EmptySubnet, NIC: nic})
	return link, nil
}
