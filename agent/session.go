package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/agent/gate"
	"borealis/agent/shell"
	"borealis/agent/wire"
	"borealis/tunnel/token"
	"borealis/tunnel/wg"
)

// Limits and constants of a tunnel.
const (
	linkName         = "borealis0"
	keepalive        = time.Second // Keeps the way open through a NAT, and shows the engine another one before a person notices.
	resolveTimeout   = 5 * time.Second
	handshakeTimeout = 15 * time.Second // After that the log says so; the engine decides.
)

// session is one tunnel. Its goroutine, [Agent.hold], owns all that belongs to it.
type session struct {
	id      string
	token   string
	psk     wgtypes.Key
	claims  token.Claims
	gate    *gate.Gate
	asUser  bool       // Shells run as the signed-in user.
	device  string     // The device's id at the engine.
	dialled string     // The engine's host:port as it was dialled.
	engine  netip.Addr // Where the engine was reached.

	before <-chan struct{} // Closed when the session before this one is gone; or nil.
	admit  chan struct{}   // Closed when the engine admits this one.
	done   chan struct{}   // Closed when nothing of it is left.
	end    func()          // Tells the goroutine to end.
	lease  *lease

	granted grant // What the engine allows; the gate has what the device allows of it.

	// Guarded by Agent.mu.
	ready    *wire.Ready // What was answered; nil before.
	admitted bool        // Admit is closed.
	up       bool        // The handshake came about.
	ending   bool        // End was called.
	told     bool        // The engine asked for the end.
	reason   string      // Why it ends.
	detail   string      // More about that, for people, or "".
}

// errLinkGone is why a tunnel ends whose interface died underneath.
var errLinkGone = errors.New("the WireGuard interface is gone")

// hold is a session's whole life.
func (a *Agent) hold(ctx context.Context, s *session) {
	defer close(s.done)
	defer s.end()
	if s.before != nil {
		<-s.before
	}
	a.over(s, a.carry(ctx, s))
}

// carry brings a tunnel up, keeps it until ctx ends or a part of it dies, and takes
// it down: the peer first, which cuts it at once, then the shells, then whatever else comes
// through the gate, then the interface.
func (a *Agent) carry(ctx context.Context, s *session) (err error) {
	endpoint, err := s.endpoint(ctx, s.dialled)
	if err != nil {
		return endedOr(ctx, err)
	}
	// A key of its own for each tunnel: it is born here and dies with it.
	private, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return fmt.Errorf("make a WireGuard key: %w", err)
	}
	link, err := a.plane.open(ctx, private, s.claims)
	if err != nil {
		return endedOr(ctx, err)
	}
	a.point(s, "link_open")
	defer func() {
		err = errors.Join(err, link.Close())
		a.point(s, "link_closed")
	}()
	if err := s.gate.Guard(link); err != nil {
		return err
	}
	defer s.gate.Close()
	defer a.keepPolicy(ctx, s)()
	failed, stopShell := a.serveShell(ctx, s)
	defer func() {
		stopShell()
		a.point(s, "shells_gone")
	}()
	a.point(s, "shell_listens")
	a.answerReady(s, private.PublicKey())
	select {
	case <-s.admit:
	case <-ctx.Done():
		return nil
	case <-link.Done():
		return errLinkGone
	case err := <-failed:
		return err
	}
	return a.join(ctx, s, link, failed, wg.Peer{
		PublicKey: s.claims.ServerKey, PresharedKey: s.psk, AllowedIP: s.claims.EngineIP,
		Endpoint: endpoint, Keepalive: keepalive,
	})
}

// point logs that a tunnel has come to a point.
func (a *Agent) point(s *session, point string) {
	a.log.Debug("tunnel_step", "tunnel", s.id, "step", point)
}

// endedOr returns err, unless it only says that ctx ended.
func endedOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// join adds the engine as the peer, which begins the handshake, and waits for
// the end.
func (a *Agent) join(ctx context.Context, s *session, link *wg.Interface, failed <-chan error, peer wg.Peer) (err error) {
	a.point(s, "admitted")
	if err := link.AddPeer(peer); err != nil {
		return err
	}
	a.point(s, "peer_added")
	var watch sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		err = errors.Join(err, link.RemovePeer(peer.PublicKey))
		a.point(s, "peer_removed")
		cancel()
		watch.Wait()
	}()
	watch.Go(func() {
		waiting, cancel := context.WithTimeout(ctx, handshakeTimeout)
		defer cancel()
		if err := link.Handshake(waiting, peer.PublicKey); err == nil {
			a.log.Info("tunnel_up", "tunnel", s.id, "addr", peer.Endpoint)
			a.shook(s)
		} else if ctx.Err() == nil {
			a.log.Warn("tunnel_silent", "tunnel", s.id, "addr", peer.Endpoint, "err", err,
				"reason", "no WireGuard handshake: is this UDP port open on the way to the engine?")
		}
	})
	select {
	case <-ctx.Done():
		return nil
	case <-link.Done():
		return errLinkGone
	case err := <-failed:
		return err
	}
}

// shook notes that the way of a tunnel is open, out and back.
func (a *Agent) shook(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.up = true
	a.touch()
}

// serveShell serves shells to what comes through the session's gate, which has the
// say about their port. An error that ends the server early comes out of failed.
// Stop returns when the shells and all their processes are dead.
func (a *Agent) serveShell(ctx context.Context, s *session) (failed <-chan error, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	failures := make(chan error, 1)
	var serving sync.WaitGroup
	serving.Go(func() {
		err := shell.Serve(ctx, s.gate.Shell(), shell.Config{
			HostKey: a.keys.Identity.Private(),
			Client:  s.claims.ShellKey,
			Shell:   a.shell,
			AsUser:  s.asUser,
			Env: []string{
				"BOREALIS_TUNNEL=" + s.id, "BOREALIS_DEVICE=" + s.device, "BOREALIS_ENGINE=" + s.dialled,
			},
			Logger: a.log.With("tunnel", s.id),
		})
		if err != nil {
			failures <- fmt.Errorf("serve shells: %w", err)
		}
	})
	return failures, func() { cancel(); serving.Wait() }
}

// answerReady tells the engine that this end waits to be admitted.
func (a *Agent) answerReady(s *session, key wgtypes.Key) {
	a.log.Info("tunnel_ready", "tunnel", s.id)
	a.mu.Lock()
	defer a.mu.Unlock()
	s.ready = &wire.Ready{Tunnel: s.id, Token: s.token, WireGuardKey: key.String()}
	if !s.ending {
		a.tellLocked(wire.FromAgent{Ready: s.ready})
	}
}

// endpoint returns where the engine's WireGuard listener is. When it has the name
// that the channel was dialled by, it is where the channel got through to.
func (s *session) endpoint(ctx context.Context, dialled string) (netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(s.claims.Endpoint)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("endpoint %s: %w", s.claims.Endpoint, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("endpoint %s: %w", s.claims.Endpoint, err)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(addr, uint16(port)), nil
	}
	if name, _, err := net.SplitHostPort(dialled); err == nil && name == host && s.engine.IsValid() {
		return netip.AddrPortFrom(s.engine, uint16(port)), nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("look up the engine's endpoint: %w", err)
	}
	for _, addr := range addrs {
		if addr.Unmap().Is4() { // The way most likely to be open.
			return netip.AddrPortFrom(addr.Unmap(), uint16(port)), nil
		}
	}
	return netip.AddrPortFrom(addrs[0], uint16(port)), nil
}
