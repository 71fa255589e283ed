// Package wg opens a WireGuard interface: one in the kernel of Linux or of Windows, one in user
// space on a TUN device, or one that lives in this process alone and needs no privilege.
//
// [Open] picks the backend; from then on an [Interface] behaves the same whatever it stands on:
// peers are added and removed one at a time, connections are made with [Interface.DialTCP], and
// [Interface.Close] leaves the host as it was found.
package wg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/singleflight"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Mode names what a WireGuard interface stands on.
type Mode string

// The modes of an interface.
const (
	Auto     Mode = "auto"         // the best of Kernel, TUN and Netstack that this host and this process allow
	Kernel   Mode = "kernel"       // a WireGuard link of the Linux kernel
	TUN      Mode = "tun"          // WireGuard in this process, packets through a TUN device
	Netstack Mode = "netstack"     // WireGuard and a TCP/IP stack in this process, invisible to the host
	NT       Mode = "wireguard-nt" // an adapter of the WireGuardNT driver, which Config.Adapter holds
)

const (
	defaultName = "borealis0"
	defaultMTU  = 1420
	minMTU      = 576
	maxMTU      = 65535 - 80 // the longest packet less what WireGuard puts around it
	webPort     = 443        // refused as a tunnel port: it belongs to the web
)

var (
	// ErrOverlap is returned by [Open] when the host already routes a part of Config.Route or
	// Config.Address somewhere else.
	ErrOverlap = errors.New("the virtual network overlaps a route of this host")
	// ErrForeignLink is returned by [Open] when a network interface of that name exists and is not
	// a WireGuard link that an earlier run left behind.
	ErrForeignLink = errors.New("a network interface of this name belongs to somebody else")
	// ErrNoPeer is returned by [Interface.Handshake] when the interface has no such peer.
	ErrNoPeer = errors.New("no such peer")

	namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,14}$`)
)

// Config says what [Open] opens. PrivateKey and Address are required, all else may be zero.
type Config struct {
	Mode       Mode         // zero means Auto
	Name       string       // name of the network interface, at most 15 of a-z, 0-9 and -; zero means borealis0; mode NT has its adapter's
	PrivateKey wgtypes.Key  // this end's key
	ListenPort int          // UDP port; 0 means any free one, 443 is refused
	Address    netip.Addr   // this end's IPv4 address inside the tunnel
	Route      netip.Prefix // what is reached through the interface (IPv4), in mode NT a /32; zero means nothing
	MTU        int          // largest packet inside the tunnel; 0 means 1420
	Adapter    *Adapter     // mode NT stands on it, and gives the interface its name; else unused
	Logger     *slog.Logger // nil means silence
}

// checked returns c with its defaults filled in, or says what is wrong with it.
func (c Config) checked() (Config, error) {
	if c.Mode == "" {
		c.Mode = Auto
	}
	if c.Name == "" {
		c.Name = defaultName
	}
	if c.Mode == NT && c.Adapter != nil {
		c.Name = c.Adapter.Name()
	}
	if c.MTU == 0 {
		c.MTU = defaultMTU
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	switch c.Mode {
	case Auto, Kernel, TUN, Netstack, NT:
	default:
		return c, fmt.Errorf("mode %q: want auto, kernel, tun, netstack or wireguard-nt", c.Mode)
	}
	switch {
	case c.Mode == NT && c.Adapter == nil:
		return c, errors.New("mode wireguard-nt wants an adapter")
	case c.Mode == NT && c.Route.IsValid() && c.Route.Bits() != 32:
		return c, fmt.Errorf("route %s: mode wireguard-nt wants a single address", c.Route)
	case c.Mode != NT && !namePattern.MatchString(c.Name):
		return c, fmt.Errorf("interface name %q: want at most 15 of a-z, 0-9 and -, a letter first", c.Name)
	case c.PrivateKey == wgtypes.Key{}:
		return c, errors.New("private key is missing")
	case c.ListenPort == webPort:
		return c, errors.New("UDP port 443 is refused: choose another, 30000 is usual")
	case c.ListenPort < 0 || c.ListenPort > 65535:
		return c, fmt.Errorf("UDP port %d is out of range", c.ListenPort)
	case !c.Address.Is4() || c.Address.IsUnspecified():
		return c, fmt.Errorf("address %q: want an IPv4 address", c.Address)
	case c.MTU < minMTU || c.MTU > maxMTU:
		return c, fmt.Errorf("MTU %d is out of range", c.MTU)
	}
	if c.Route != (netip.Prefix{}) {
		if !c.Route.IsValid() || !c.Route.Addr().Is4() {
			return c, fmt.Errorf("route %q: want an IPv4 prefix", c.Route)
		}
		c.Route = c.Route.Masked()
	}
	return c, nil
}

// table is the set of peers a device holds, and what it is itself.
type table interface {
	// set makes the changes in their order, after emptying the table if replace is true.
	set(replace bool, changes []change) error
	// read returns what the device is and every peer there is.
	read() (held, error)
	// own gives the device its key and its UDP port again.
	own(key wgtypes.Key, port int) error
}

// network is how this process reaches the inside of the tunnel.
type network interface {
	dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	dialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	listenTCP(at netip.AddrPort) (net.Listener, error)
	flows(to netip.Addr) ([]Flow, error)
}

// A Flow is a connection into the tunnel that is open.
type Flow struct {
	Protocol string // "tcp" or "udp"
	Port     uint16 // at the other end
}

// Interface is an open WireGuard interface. All methods may be called concurrently. Whoever
// opened it closes it with [Interface.Close].
type Interface struct {
	mode    Mode
	reason  string
	name    string
	port    int
	address netip.Addr
	private wgtypes.Key
	public  wgtypes.Key

	table   table
	net     network
	allow   func(from netip.Addr, ports []Allowed) error // nil unless the backend has a filter
	done    chan struct{}                                // closed by the backend when the device is gone
	repair  func() (repaired []string, err error)        // of what the host has; nil unless it has something
	changed <-chan struct{}                              // when somebody changed that; nil with repair

	changes   atomic.Uint64 // counts changes of the peer table
	snapshot  atomic.Pointer[snapshot]
	refreshes singleflight.Group

	mu    sync.Mutex           // serialises changes, so that device and peers agree
	asked map[wgtypes.Key]Peer // the peers that there are to be, each with where it was seen last
	owner map[netip.Addr]wgtypes.Key

	closing  atomic.Bool
	close    sync.Once
	undo     undo
	closeErr error
}

// Mode returns what the interface stands on, never Auto.
func (i *Interface) Mode() Mode { return i.mode }

// Reason says in one sentence why the interface has its mode.
func (i *Interface) Reason() string { return i.reason }

// Name returns the name of the interface. In mode Netstack the host knows no such interface.
func (i *Interface) Name() string { return i.name }

// Address returns this end's address inside the tunnel.
func (i *Interface) Address() netip.Addr { return i.address }

// ListenPort returns the UDP port in use.
func (i *Interface) ListenPort() int { return i.port }

// PublicKey returns the public half of this end's key.
func (i *Interface) PublicKey() wgtypes.Key { return i.public }

// Done is closed once the interface is gone, be it through Close or because somebody deleted the
// link underneath. Close must be called in either case.
func (i *Interface) Done() <-chan struct{} { return i.done }

// DialTCP connects to an address inside the tunnel, from this end's own address. In mode NT the
// filter forbids it. It keeps trying
// while the peer cannot be reached yet, until ctx ends. A refused connection is
// [syscall.ECONNREFUSED]. The caller closes the connection, and resets it if it calls SetLinger(0)
// before, for it has the methods of [net.TCPConn] that are about closing. What is open when the
// interface closes is dead from then on.
func (i *Interface) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if err := i.alive(); err != nil {
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	conn, err := i.net.dialTCP(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	return conn, nil
}

// DialUDP returns a socket that is connected to an address inside the tunnel, from this end's own
// address. Nothing is sent yet. Once the other end has answered a datagram with ICMP port
// unreachable, the next Read, or a Write before it, is [syscall.ECONNREFUSED]. The caller closes
// the connection.
func (i *Interface) DialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if err := i.alive(); err != nil {
		return nil, fmt.Errorf("dial udp %s: %w", to, err)
	}
	conn, err := i.net.dialUDP(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("dial udp %s: %w", to, err)
	}
	return conn, nil
}

// Flows returns the connections that are open now from this host to an address inside the tunnel:
// established TCP connections and connected UDP sockets, one Flow each, in no order. In mode
// Netstack those are this interface's own, else those of every program of the host.
func (i *Interface) Flows(to netip.Addr) ([]Flow, error) {
	if err := i.alive(); err != nil {
		return nil, fmt.Errorf("flows to %s: %w", to, err)
	}
	flows, err := i.net.flows(to)
	if err != nil {
		return nil, fmt.Errorf("flows to %s: %w", to, err)
	}
	return flows, nil
}

// ListenTCP listens inside the tunnel, on this end's own address. No other machine reaches the
// listener but through the tunnel; in modes Kernel, TUN and NT programs of this host do. After the
// listener is closed its Accept returns [net.ErrClosed].
func (i *Interface) ListenTCP(at netip.AddrPort) (net.Listener, error) {
	if err := i.alive(); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", at, err)
	}
	if at.Addr() != i.address {
		return nil, fmt.Errorf("listen on %s: the address of this end is %s", at, i.address)
	}
	l, err := i.net.listenTCP(at)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", at, err)
	}
	return l, nil
}

// Close takes the interface down and undoes all that Open did to the host: socket, route,
// address and link. It may be called more than once and returns the same error each time.
func (i *Interface) Close() error {
	i.closing.Store(true)
	i.close.Do(func() {
		if err := i.undo.run(); err != nil {
			i.closeErr = fmt.Errorf("close interface %s: %w", i.name, err)
		}
	})
	return i.closeErr
}

// alive returns net.ErrClosed once the interface is gone or going.
func (i *Interface) alive() error {
	gone := i.closing.Load()
	select {
	case <-i.done:
		gone = true
	default:
	}
	if gone {
		return fmt.Errorf("interface %s: %w", i.name, net.ErrClosed)
	}
	return nil
}
