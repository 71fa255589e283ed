package tunnel

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	wgdevice "golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/keys"
	"borealis/tunnel/token"
)

// A modelAgent is the device's side of a device in a sequence: a channel, and WireGuard without
// a network behind it. It does by itself only what a sequence wants.
type modelAgent struct {
	world  *world
	device store.Device
	pin    keys.Pin

	// What it does by itself, written by the sequence while no tunnel is being made.
	answers bool // it says that it is ready as soon as it is offered a tunnel
	shakes  bool // it begins a handshake as soon as it is admitted

	channel *Channel
	done    chan struct{} // closed when nothing comes from the channel any more

	mu       sync.Mutex
	news     chan struct{} // closed and replaced when something came
	offer    wire.Start
	before   string // the token of the tunnel before
	admitted string // the tunnel that it may use
	stopped  map[string]bool
	key      wgtypes.Key // its own, for the offered tunnel
	claims   token.Claims
	wg       *wgdevice.Device
	errs     []error
}

// online connects the agent, which holds a tunnel or none.
func (a *modelAgent) online(holding string) error {
	hello := wire.Hello{Nonce: testNonce, Hostname: a.device.Hostname, OS: "linux", Link: "netstack", Dialled: "127.0.0.1:1", Tunnel: holding}
	gone := func(context.Context) error { return errors.New("gone") }
	c, err := a.world.manager.Join(context.Background(), a.device, hello, "127.0.0.1", a.world.keys.Identity, gone)
	if err != nil {
		return err
	}
	a.channel, a.done = c, make(chan struct{})
	go a.serve(c, a.done)
	return nil
}

// leave loses the connection.
func (a *modelAgent) leave() {
	a.channel.Leave()
	<-a.done
	a.channel = nil
}

func (a *modelAgent) serve(c *Channel, done chan struct{}) {
	defer close(done)
	for msg := range c.Outgoing() {
		if err := a.take(c, msg); err != nil {
			a.mu.Lock()
			a.errs = append(a.errs, err)
			a.mu.Unlock()
		}
		a.mu.Lock()
		close(a.news)
		a.news = make(chan struct{})
		a.mu.Unlock()
	}
}

func (a *modelAgent) take(c *Channel, msg wire.FromEngine) error {
	switch {
	case msg.Start != nil:
		return a.offered(c, *msg.Start)
	case msg.Admit != nil:
		a.mu.Lock()
		a.admitted = msg.Admit.Tunnel
		a.mu.Unlock()
		if a.shakes {
			return a.shake()
		}
	case msg.Policy != nil:
		p, err := token.CheckPolicy(msg.Policy.Policy, a.world.keys.TokenPublic(), a.world.keys.Identity.Pin(), a.pin, msg.Policy.Tunnel)
		if err != nil {
			return err
		}
		return c.Receive(context.Background(), wire.FromAgent{Applied: &wire.Applied{Tunnel: p.Tunnel, Revision: p.Revision}})
	case msg.Stop != nil:
		a.mu.Lock()
		a.stopped[msg.Stop.Tunnel] = true
		mine := a.offer.Tunnel == msg.Stop.Tunnel
		a.mu.Unlock()
		if mine {
			a.crash()
		}
	}
	return nil
}

// offered checks an offer and makes a key for it.
func (a *modelAgent) offered(c *Channel, offer wire.Start) error {
	a.crash()
	want := token.Want{Engine: a.world.keys.Identity.Pin(), Agent: a.pin, Nonce: testNonce, Tunnel: offer.Tunnel}
	claims, err := token.Check(offer.Token, a.world.keys.TokenPublic(), want, time.Now())
	if err != nil {
		return fmt.Errorf("the offered token: %w", err)
	}
	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.before = a.offer.Token
	a.offer, a.claims, a.key = offer, claims, key
	a.mu.Unlock()
	if a.answers {
		return a.ready(c, offer.Tunnel, offer.Token)
	}
	return nil
}

// ready shows a token to the engine.
func (a *modelAgent) ready(c *Channel, tunnelID, shown string) error {
	return c.Receive(context.Background(), wire.FromAgent{Ready: &wire.Ready{Tunnel: tunnelID, Token: shown, WireGuardKey: a.public().String()}})
}

func (a *modelAgent) public() wgtypes.Key {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.key.PublicKey()
}

// shake brings WireGuard up, which begins a handshake.
func (a *modelAgent) shake() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wg != nil {
		return nil
	}
	d := wgdevice.NewDevice(newNoNetwork(), new(oneSocket), wgdevice.NewLogger(wgdevice.LogLevelSilent, ""))
	psk, err := wgtypes.ParseKey(a.offer.PresharedKey)
	if err != nil {
		return err
	}
	hexed := func(k wgtypes.Key) string { return hex.EncodeToString(k[:]) }
	err = d.IpcSet(fmt.Sprintf("private_key=%s\npublic_key=%s\npreshared_key=%s\nendpoint=%s\nallowed_ip=%s\npersistent_keepalive_interval=25\n",
		hexed(a.key), hexed(a.claims.ServerKey), hexed(psk), a.claims.Endpoint, netip.PrefixFrom(a.claims.EngineIP, 32)))
	if err == nil {
		err = d.Up()
	}
	if err != nil {
		d.Close()
		return err
	}
	a.wg = d
	return nil
}

// crash takes away what the agent has of its tunnel.
func (a *modelAgent) crash() {
	a.mu.Lock()
	d := a.wg
	a.wg = nil
	a.mu.Unlock()
	if d != nil {
		d.Close()
	}
}

// oneSocket is where WireGuard of an agent sends from. It has room for one datagram, where the
// usual one has room for 128.
type oneSocket struct{ udp *net.UDPConn }

func (b *oneSocket) Open(uint16) (fns []conn.ReceiveFunc, port uint16, err error) {
	if b.udp, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		return nil, 0, err
	}
	udp := b.udp
	receive := func(packets [][]byte, sizes []int, from []conn.Endpoint) (int, error) {
		n, addr, err := udp.ReadFromUDPAddrPort(packets[0])
		if err != nil {
			return 0, err
		}
		sizes[0], from[0] = n, &conn.StdNetEndpoint{AddrPort: addr}
		return 1, nil
	}
	return []conn.ReceiveFunc{receive}, udp.LocalAddr().(*net.UDPAddr).AddrPort().Port(), nil
}

func (b *oneSocket) Close() error {
	if b.udp == nil {
		return nil
	}
	return b.udp.Close()
}

func (b *oneSocket) Send(packets [][]byte, to conn.Endpoint) error {
	for _, p := range packets {
		if _, err := b.udp.WriteToUDPAddrPort(p, to.(*conn.StdNetEndpoint).AddrPort); err != nil {
			return err
		}
	}
	return nil
}

func (b *oneSocket) ParseEndpoint(s string) (conn.Endpoint, error) {
	addr, err := netip.ParseAddrPort(s)
	return &conn.StdNetEndpoint{AddrPort: addr}, err
}

func (b *oneSocket) SetMark(uint32) error { return nil }
func (b *oneSocket) BatchSize() int       { return 1 }

// noNetwork is a TUN device with nothing behind it.
type noNetwork struct {
	events chan tun.Event
	closed chan struct{}
	once   sync.Once
}

func newNoNetwork() *noNetwork {
	return &noNetwork{events: make(chan tun.Event), closed: make(chan struct{})}
}

func (n *noNetwork) File() *os.File                          { return nil }
func (n *noNetwork) MTU() (int, error)                       { return 1280, nil }
func (n *noNetwork) Name() (string, error)                   { return "none", nil }
func (n *noNetwork) Events() <-chan tun.Event                { return n.events }
func (n *noNetwork) BatchSize() int                          { return 1 }
func (n *noNetwork) Write(bufs [][]byte, _ int) (int, error) { return len(bufs), nil }

func (n *noNetwork) Read([][]byte, []int, int) (int, error) {
	<-n.closed
	return 0, os.ErrClosed
}

func (n *noNetwork) Close() error {
	n.once.Do(func() { close(n.closed); close(n.events) })
	return nil
}

// awaits waits until ok, which changes when something comes from the engine. ok has the lock.
func (a *modelAgent) awaits(what string, ok func() bool) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		a.mu.Lock()
		done, news := ok(), a.news
		a.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-news:
		case <-limit.C:
			return fmt.Errorf("it never happened that %s", what)
		}
	}
}

// failures are what it found wrong.
func (a *modelAgent) failures() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return errors.Join(a.errs...)
}
