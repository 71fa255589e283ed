package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// A simAgent is the device's side of the channel to the engine and nothing below it: honest TLS with
// an identity of its own, hello, pings, and to offers what a test wants it to say. A process
// has room for ten thousand of them.
type simAgent struct {
	engine   string     // host:port
	pin      keys.Pin   // of the engine
	from     netip.Addr // where it dials from; zero is any
	identity *keys.Identity
	machine  string

	// said answers a message of the engine; nil, or nothing, says nothing.
	said func(wire.FromEngine) *wire.FromAgent
	// online counts agents that are welcomed; may be nil.
	online *atomic.Int64
}

// keep stays in touch with the engine until ctx ends, with the pauses of the real agent: up to
// a ceiling that doubles from a second to half a minute.
func (a *simAgent) keep(ctx context.Context) {
	ceiling := time.Second
	for ctx.Err() == nil {
		began := time.Now()
		_ = a.once(ctx) // whatever it was, it is tried again
		if time.Since(began) > 30*time.Second {
			ceiling = time.Second
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(rand.Int64N(int64(ceiling)))):
		}
		ceiling = min(2*ceiling, 30*time.Second)
	}
}

// once makes one connection and stays on it until it ends.
func (a *simAgent) once(ctx context.Context) error {
	ws, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer ws.CloseNow()
	if a.online != nil {
		a.online.Add(1)
		defer a.online.Add(-1)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go a.beat(ctx, cancel, ws)
	for {
		_, b, err := ws.Read(ctx)
		if err != nil {
			return err
		}
		m, err := wire.DecodeFromEngine(b)
		if err != nil {
			return err
		}
		if a.said == nil {
			continue
		}
		if answer := a.said(m); answer != nil {
			if err := send(ctx, ws, *answer); err != nil {
				return err
			}
		}
	}
}

// dial connects, says hello, and waits to be welcomed.
func (a *simAgent) dial(ctx context.Context) (_ *websocket.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: wire.ServerNameFor(wire.ServerName, a.pin), Certificates: []tls.Certificate{a.identity.TLS()},
		NextProtos: []string{"http/1.1"}, SessionTicketsDisabled: true, InsecureSkipVerify: true, // the pin is checked
		VerifyConnection: func(cs tls.ConnectionState) error {
			if keys.PinOfCertificate(cs.PeerCertificates[0]) != a.pin {
				return errors.New("somebody else answers")
			}
			_, err := keys.Peer(cs)
			return err
		},
	}
	dialer := tls.Dialer{NetDialer: new(net.Dialer), Config: config}
	if a.from.IsValid() {
		dialer.NetDialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.from, 0))
	}
	transport := &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", a.engine)
		},
		DisableKeepAlives: true,
	}
	ws, _, err := websocket.Dial(ctx, "wss://"+wire.ServerName+wire.PathChannel, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{wire.Subprotocol},
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			ws.CloseNow()
		}
	}()
	ws.SetReadLimit(wire.MaxMessage)
	hello := wire.Hello{
		Nonce: wire.NewSecret(), Version: "simulated", Hostname: "sim", OS: "linux", OSVersion: "none", Arch: "amd64",
		Link: "netstack", Dialled: a.engine, Machine: a.machine, Protocol: wire.Protocol,
	}
	if err := send(ctx, ws, wire.FromAgent{Hello: &hello}); err != nil {
		return nil, err
	}
	_, b, err := ws.Read(ctx)
	if err != nil {
		return nil, err
	}
	m, err := wire.DecodeFromEngine(b)
	if err == nil && m.Welcome == nil {
		err = errors.New("the engine does not welcome")
	}
	return ws, err
}

// beat pings as often as the real agent does.
func (a *simAgent) beat(ctx context.Context, cancel context.CancelCauseFunc, ws *websocket.Conn) {
	tick := time.NewTicker(wire.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		waiting, done := context.WithTimeout(ctx, 10*time.Second)
		err := ws.Ping(waiting)
		done()
		if err != nil {
			cancel(fmt.Errorf("ping: %w", err))
			return
		}
	}
}

func send(ctx context.Context, ws *websocket.Conn, m wire.FromAgent) error {
	b, err := m.Encode()
	if err != nil {
		return err
	}
	return ws.Write(ctx, websocket.MessageText, b)
}
