package selftest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/agent/wire"
	"borealis/cmd/borealis/engine"
	"borealis/tunnel/keys"
	"borealis/tunnel/wg"
)

// noHandshake is how long a handshake is waited for that must not come about. Where it
// does, it takes milliseconds.
const noHandshake = 1200 * time.Millisecond

// betweenHandshakes is a little more than what WireGuard demands between two handshakes of
// one key, so that the second is not dropped and made again five seconds later.
const betweenHandshakes = 60 * time.Millisecond

// A rogue is an enrolled device that speaks the agents' protocol and does with its tunnel
// what no agent does.
type rogue struct {
	device  string
	address string // of the engine
	conn    *websocket.Conn
	web     *http.Client

	link  *wg.Interface
	shell net.Listener
	start wire.Start // that came last
	peer  wg.Peer    // the engine
}

// newRogue connects an enrolled device that has no agent.
func newRogue(ctx context.Context, a *rigAgent, machine string) (_ *rogue, err error) {
	k, err := keys.OpenAgent(filepath.Join(a.data, "Agent", "Borealis", "Certificates", "VPN_Client"))
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: wire.ServerNameFor(wire.ServerName, k.Engine),
		Certificates: []tls.Certificate{k.Identity.TLS()}, NextProtos: []string{"http/1.1"},
		InsecureSkipVerify: true, //nolint:gosec // it talks to the engine of this very process
	}
	r := &rogue{device: a.device, address: k.Address, web: &http.Client{Transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", k.Address)
		},
	}}}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	conn, resp, err := websocket.Dial(ctx, "wss://"+wire.ServerName+wire.PathChannel, &websocket.DialOptions{
		HTTPClient: r.web, Subprotocols: []string{wire.Subprotocol},
	})
	closeBody(resp)
	if err != nil {
		return nil, fmt.Errorf("open a channel: %w", err)
	}
	r.conn = conn
	conn.SetReadLimit(wire.MaxMessage)
	hello := wire.Hello{
		Nonce: rand.Text(), Version: engine.Version(), Hostname: "selftest-" + a.name, OS: runtime.GOOS, Arch: runtime.GOARCH,
		Link: string(wg.Netstack), Dialled: k.Address, Machine: machine, Protocol: wire.Protocol,
	}
	return r, r.say(ctx, wire.FromAgent{Hello: &hello})
}

func (r *rogue) say(ctx context.Context, m wire.FromAgent) error {
	b, err := m.Encode()
	if err != nil {
		return err
	}
	return r.conn.Write(ctx, websocket.MessageText, b)
}

// hear reads until what came is wanted, or the engine stops the tunnel that it is about.
func (r *rogue) hear(ctx context.Context, tunnel string, wanted func(wire.FromEngine) bool) error {
	for {
		_, b, err := r.conn.Read(ctx)
		if err != nil {
			return err
		}
		m, err := wire.DecodeFromEngine(b)
		if err != nil {
			return err
		}
		if m.Start != nil {
			r.start = *m.Start
		}
		if wanted(m) {
			return nil
		}
		if m.Stop != nil && m.Stop.Tunnel == tunnel {
			return errors.New("the engine stopped the tunnel: " + m.Stop.Reason)
		}
	}
}

// offer takes the engine's offer of a tunnel and answers it with a token.
func (r *rogue) offer(ctx context.Context, made tunnelView, token func(own string) string) error {
	if err := r.hear(ctx, made.TunnelID, func(m wire.FromEngine) bool { return m.Start != nil && m.Start.Tunnel == made.TunnelID }); err != nil {
		return fmt.Errorf("wait for the offer: %w", err)
	}
	private, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return err
	}
	vip, err := netip.ParseAddr(made.VirtualIP)
	if err != nil {
		return err
	}
	r.closeLink()
	pool := netip.MustParsePrefix("10.255.0.0/16")
	if r.link, err = wg.Open(ctx, wg.Config{Mode: wg.Netstack, PrivateKey: private, Address: vip, Route: pool}); err != nil {
		return err
	}
	if r.shell, err = r.link.ListenTCP(netip.AddrPortFrom(vip, wire.ShellPort)); err != nil {
		return err
	}
	if r.peer, err = enginePeer(made, r.start.PresharedKey); err != nil {
		return err
	}
	return r.say(ctx, wire.FromAgent{Ready: &wire.Ready{Tunnel: made.TunnelID, Token: token(r.start.Token), WireGuardKey: private.PublicKey().String()}})
}

// enginePeer is the engine as a WireGuard peer.
func enginePeer(made tunnelView, psk string) (p wg.Peer, err error) {
	server, err := wgtypes.ParseKey(made.ServerKey)
	if err != nil {
		return p, err
	}
	secret, err := wgtypes.ParseKey(psk)
	if err != nil {
		return p, err
	}
	address, err := netip.ParseAddr(made.EngineIP)
	if err != nil {
		return p, err
	}
	endpoint, err := netip.ParseAddrPort(made.Endpoint)
	return wg.Peer{PublicKey: server, PresharedKey: secret, AllowedIP: address, Endpoint: endpoint, Keepalive: time.Minute}, err // a keepalive begins a handshake
}

// join waits to be admitted and makes the handshake.
func (r *rogue) join(ctx context.Context) error {
	if err := r.hear(ctx, r.start.Tunnel, func(m wire.FromEngine) bool { return m.Admit != nil }); err != nil {
		return fmt.Errorf("wait to be admitted: %w", err)
	}
	return r.towards(ctx, r.peer.AllowedIP)
}

// towards sends what is for an address through the tunnel, with a handshake of its own.
func (r *rogue) towards(ctx context.Context, to netip.Addr) error {
	if err := r.link.RemovePeer(r.peer.PublicKey); err != nil {
		return err
	}
	if err := wait(ctx, betweenHandshakes); err != nil {
		return err
	}
	peer := r.peer
	peer.AllowedIP = to
	if err := r.link.AddPeer(peer); err != nil {
		return err
	}
	if err := r.link.Handshake(ctx, peer.PublicKey); err != nil {
		return fmt.Errorf("make a handshake: %w", err)
	}
	return nil
}

// reaches returns the ports of somebody in the tunnel that answer.
func (r *rogue) reaches(ctx context.Context, to netip.Addr, ports ...int) []int {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var (
		work    sync.WaitGroup
		mu      sync.Mutex
		answers []int
	)
	for _, port := range ports {
		work.Go(func() {
			conn, err := r.link.DialTCP(ctx, netip.AddrPortFrom(to, uint16(port))) //nolint:gosec // a port fits
			if err != nil {
				return
			}
			conn.Close()
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, port)
		})
	}
	work.Wait()
	return answers
}

func (r *rogue) closeLink() {
	if r.link != nil {
		r.link.Close()
		r.link, r.shell = nil, nil
	}
}

func (r *rogue) close() {
	r.closeLink()
	if r.conn != nil {
		r.conn.CloseNow()
	}
	r.web.CloseIdleConnections()
}
