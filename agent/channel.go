package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/coder/websocket"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// Limits of the channel.
const (
	dialTimeout  = 15 * time.Second // From the first packet to an address to TLS, and from there to the engine's welcome.
	writeTimeout = 10 * time.Second // Of one message.
	byeTimeout   = time.Second      // To say goodbye before hanging up.
	outgoing     = 32               // Messages that may wait to be sent.
)

// connection is a channel that the engine has welcomed. Only its token keys change.
type connection struct {
	ws      *websocket.Conn
	conn    *tls.Conn  // Below ws.
	address string     // The host:port that was dialled.
	engine  netip.Addr // Where the engine was reached.
	hello   wire.Hello
	welcome wire.Welcome
	at      time.Time // When the welcome came.

	identity ed25519.PublicKey // Of the engine, on this connection; the agent trusts it.

	mu        sync.Mutex
	tokenKeys map[string]ed25519.PublicKey // Those that identity vouches for, by id.
}

// now returns the engine's time. The device's own clock may be days off; only
// how it runs is relied on.
func (c *connection) now() time.Time { return c.welcome.ServerTime.Add(time.Since(c.at)) }

// dial connects to the engine, says hello and waits to be welcomed.
func (a *Agent) dial(ctx context.Context) (_ *connection, err error) {
	found, err := a.reach(ctx)
	if err != nil {
		return nil, err
	}
	for _, why := range found.skipped {
		if times, say := a.skipped.add(why); say {
			a.log.Warn("address_skipped", "addr", found.address, "err", why, "count", times)
		}
	}
	conn := found.conn
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	ws, response, err := websocket.Dial(ctx, "wss://"+wire.ServerName+wire.PathChannel, &websocket.DialOptions{
		HTTPClient:   oneConnection(conn),
		Subprotocols: []string{wire.Subprotocol},
	})
	if response != nil && response.StatusCode >= 300 {
		return nil, refusal(response)
	}
	if err != nil {
		return nil, fmt.Errorf("open the channel: %w", understood(err))
	}
	ws.SetReadLimit(wire.MaxMessage)
	c := &connection{ws: ws, conn: conn, address: found.address, hello: a.hello(found.address)}
	if remote, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		c.engine = remote.Addr().Unmap()
	}
	if err := a.greet(ctx, c); err != nil {
		ws.CloseNow()
		return nil, fmt.Errorf("open the channel: %w", err)
	}
	return c, nil
}

// hello is the first message on a new connection to an address.
func (a *Agent) hello(address string) wire.Hello {
	return wire.Hello{
		Nonce: rand.Text(), Version: clean(a.version, maxName),
		Hostname: a.facts.hostname, OS: a.facts.os, OSVersion: a.facts.osVersion, Arch: a.facts.arch,
		Link: string(a.plane.mode), Dialled: address, Tunnel: a.held(), Machine: a.facts.machine,
		Protocol: wire.Protocol,
	}
}

// greet exchanges hello and welcome.
func (a *Agent) greet(ctx context.Context, c *connection) error {
	if c.ws.Subprotocol() != wire.Subprotocol {
		return errors.New("the engine speaks another protocol: is it of another version?")
	}
	if err := send(ctx, c.ws, wire.FromAgent{Hello: &c.hello}); err != nil {
		return err
	}
	m, err := receive(ctx, c.ws)
	if err != nil {
		return fmt.Errorf("wait for the welcome: %w", understood(err))
	}
	if m.Welcome == nil {
		return errors.New("the engine did not answer the hello with a welcome")
	}
	c.welcome, c.at = *m.Welcome, time.Now()
	if c.identity, err = keys.Peer(c.conn.ConnectionState()); err != nil {
		return err
	}
	if c.tokenKeys, err = checked(c.identity, c.welcome.TokenKeys); err != nil {
		return fmt.Errorf("the welcome: %w", err)
	}
	if err := a.learn(c); err != nil {
		return fmt.Errorf("the welcome: %w", err)
	}
	a.announced(c.welcome)
	return nil
}

// attend carries messages both ways until the connection ends or channel does.
// In the latter case it sends first what waits to be sent, and returns nil.
func (a *Agent) attend(channel context.Context, c *connection) (why error) {
	ctx, drop := context.WithCancelCause(context.WithoutCancel(channel))
	out := make(chan wire.FromAgent, outgoing)
	a.attach(c, out, drop)
	a.checkIn()
	var pumps sync.WaitGroup
	pumps.Go(func() { drop(a.read(ctx, channel, c)) })
	pumps.Go(func() {
		if err := heartbeat(ctx, a.nudged, c.ws.Ping); err != nil {
			drop(err)
		}
	})
	pumps.Go(func() { a.reporter.follow(ctx) })
	pumps.Go(func() { a.keepDriver(ctx, c) })
	written := make(chan struct{})
	pumps.Go(func() {
		defer close(written)
		if err := write(ctx, c.ws, out); err != nil {
			drop(err)
		}
	})
	select {
	case <-ctx.Done():
	case <-channel.Done():
	}
	why = context.Cause(ctx)
	a.detach(c, out, why)
	hangUp := time.AfterFunc(byeTimeout, func() { c.conn.NetConn().Close() })
	if ctx.Err() == nil {
		<-written
		if c.ws.Ping(ctx) == nil { // The engine answers when it has read what was before that.
			a.wasHeard()
		}
		c.ws.Close(websocket.StatusGoingAway, "")
	}
	drop(nil)
	c.ws.CloseNow()
	hangUp.Stop()
	pumps.Wait()
	return why
}

// read hands on what arrives until the connection ends. None of it waits for
// anything slow: tunnels live in goroutines of their own, below life.
func (a *Agent) read(ctx, life context.Context, c *connection) error {
	for {
		m, err := receive(ctx, c.ws)
		if err != nil {
			return err
		}
		switch {
		case m.Start != nil:
			a.start(life, c, *m.Start)
		case m.Admit != nil:
			a.admit(m.Admit.Tunnel)
		case m.Stop != nil:
			a.stop(m.Stop.Tunnel, m.Stop.Reason)
		case m.Renew != nil:
			a.renew(m.Renew.Tunnel, time.Duration(m.Renew.Seconds)*time.Second)
		case m.Policy != nil:
			a.enforce(c, *m.Policy)
		case m.Keys != nil:
			if err := c.rekey(*m.Keys); err != nil {
				return err
			}
			a.log.Info("token_keys_changed")
		case m.State != nil:
			a.decided(m.State.State)
		case m.Update != nil:
			a.offered(*m.Update)
		default:
			return errors.New("the engine sent a second welcome")
		}
	}
}

// write sends what comes out of out, until it is closed or the connection ends.
func write(ctx context.Context, ws *websocket.Conn, out <-chan wire.FromAgent) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case m, more := <-out:
			if !more {
				return nil
			}
			if err := send(ctx, ws, m); err != nil {
				return err
			}
		}
	}
}

// send sends one message.
func send(ctx context.Context, ws *websocket.Conn, m wire.FromAgent) error {
	b, err := m.Encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return ws.Write(ctx, websocket.MessageText, b)
}

// receive waits for one message.
func receive(ctx context.Context, ws *websocket.Conn) (wire.FromEngine, error) {
	kind, b, err := ws.Read(ctx)
	if err != nil {
		return wire.FromEngine{}, err
	}
	if kind != websocket.MessageText {
		return wire.FromEngine{}, errors.New("a message that is not text")
	}
	return wire.DecodeFromEngine(b)
}

// attach makes c the agent's channel.
func (a *Agent) attach(c *connection, out chan<- wire.FromAgent, drop func(error)) {
	a.mu.Lock()
	defer a.touch()
	a.out, a.drop, a.protocol = out, drop, c.welcome.Protocol
	a.status.Connected, a.status.Since, a.status.LastError = true, time.Now(), ""
	a.status.State, a.status.Engine = c.welcome.State, c.address
	switch s, said := a.current, c.hello.Tunnel; {
	case s != nil && s.id == said: // Held; or ending, and when nothing of it is left the engine is told.
		if !s.ending {
			s.lease.back()
		}
	case said != "" && said != a.last.Tunnel:
		a.stoppedLocked(wire.Stopped{Tunnel: said, Reason: wire.LinkFailed})
	}
	if a.unsettled {
		a.stoppedLocked(a.last)
	}
	a.mu.Unlock()
	a.log.Info("agent_connected", "agent", c.welcome.DeviceID, "addr", c.address, "reason", c.welcome.State)
}

// detach ends the agent's channel; why is nil when the agent itself ends it.
func (a *Agent) detach(c *connection, out chan<- wire.FromAgent, why error) {
	if why == nil {
		a.log.Info("agent_disconnected", "addr", c.address, "reason", wire.AgentShutdown)
	} else {
		a.log.Warn("agent_disconnected", "addr", c.address, "err", why)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.touch()
	close(out)
	a.out, a.drop = nil, nil
	a.status.Connected, a.status.Since = false, time.Now()
	if why != nil {
		a.status.LastError = why.Error()
	}
	if a.current != nil {
		a.unheardLocked(a.current, why)
	}
}

// wasHeard notes that the engine has read all that the agent had to say before it ends.
func (a *Agent) wasHeard() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard = true
}

// unheardLocked says what the loss of the channel means for a tunnel. One that was
// not admitted yet dies with it: the answer that it waits for cannot come any more.
func (a *Agent) unheardLocked(s *session, why error) {
	jump, jumped := errors.AsType[*clockJump](why)
	switch {
	case !s.admitted:
		a.endLocked(s, wire.ChannelLost)
	case jumped && jump.gap > wire.Lease:
		a.endLocked(s, wire.LeaseExpired) // The lease ran out in the device's sleep.
	default:
		s.lease.lost()
	}
}

// tellLocked sends a message to the engine, if there is a channel. An engine that
// does not read is hung up on.
func (a *Agent) tellLocked(m wire.FromAgent) {
	if a.out == nil {
		return
	}
	select {
	case a.out <- m:
	default:
		a.drop(errors.New("the engine does not read its messages"))
	}
}
