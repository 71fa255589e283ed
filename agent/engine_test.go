package agent_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
	"borealis/tunnel/keys/seal"
	"borealis/tunnel/wg"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "watch-update" {
		os.Exit(actWatcher())
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

var engineIP = netip.MustParseAddr("10.255.0.1")

// box seals the keys of the engines.
var box = seal.New([32]byte{1})

// engine is a small real one: TLS with both personalities, enrolment, the channel,
// and WireGuard in this process.
type engine struct {
	dir      string // Of the keys.
	keys     *keys.Engine
	address  string
	stop     func() // Ends the server and all channels.
	link     *wg.Interface
	channels chan *channel // Each that an agent opens, welcomed already.

	// What the tests change before an agent comes.
	enrol   func(http.ResponseWriter, *http.Request, wire.EnrolRequest)
	welcome func(*wire.Welcome)
	files   http.HandlerFunc                             // What is below [wire.PathFile]; nil: nothing.
	trial   func(http.ResponseWriter, wire.TrialRequest) // Answers trials of the way; nil: there are none.
	admit   func(keys.Pin) error                         // In the TLS handshake.
	ahead   time.Duration                                // Of the real time, by the engine's clock.
	record  func(wire.Stopped) string                    // The reason on record of a tunnel that ended; "" is no answer.
}

// newEngine starts an engine that lives as long as the test.
func newEngine(t *testing.T) *engine {
	t.Helper()
	dir := t.TempDir()
	k, err := keys.OpenEngine(dir, nil, box)
	if err != nil {
		t.Fatal(err)
	}
	link, err := wg.Open(t.Context(), wg.Config{
		Mode: wg.Netstack, PrivateKey: k.WireGuard, Address: engineIP, Route: netip.MustParsePrefix("10.255.0.0/16"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close() })
	e := &engine{dir: dir, keys: k, link: link, channels: make(chan *channel, 8)}
	e.enrol = func(w http.ResponseWriter, _ *http.Request, _ wire.EnrolRequest) {
		b, err := wire.EnrolResponse{DeviceID: "device-1", State: "active", Message: "Welcome."}.Encode()
		if err != nil {
			t.Error(err)
		}
		w.Write(b)
	}
	e.record = func(m wire.Stopped) string { return wire.EndReason(m.Reason) }
	e.serve(t, "127.0.0.1:0")
	t.Cleanup(func() { e.stop() })
	return e
}

// serve listens for agents.
func (e *engine) serve(t *testing.T, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	for begun := time.Now(); err != nil && time.Since(begun) < patience; listener, err = net.Listen("tcp", address) {
		<-time.After(10 * time.Millisecond) // A connection of another test has the port for a while.
	}
	if err != nil {
		t.Fatal(err)
	}
	e.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.PathEnrol, e.serveEnrol)
	mux.HandleFunc("GET "+wire.PathChannel, func(w http.ResponseWriter, r *http.Request) { e.serveChannel(ctx, w, r) })
	mux.HandleFunc("GET "+wire.PathFile, func(w http.ResponseWriter, r *http.Request) {
		if e.files == nil || personality(r) != wire.ServerName {
			http.NotFound(w, r)
			return
		}
		e.files(w, r)
	})
	mux.HandleFunc("POST "+wire.PathTrial, func(w http.ResponseWriter, r *http.Request) {
		var q wire.TrialRequest
		if e.trial == nil || personality(r) != wire.ServerName || json.NewDecoder(r.Body).Decode(&q) != nil {
			http.NotFound(w, r)
			return
		}
		e.trial(w, q)
	})
	server := &http.Server{
		Handler: mux,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"},
			GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				cert := e.shown(hello.ServerName).TLS()
				return &cert, nil
			},
			ClientAuth: tls.RequireAnyClientCert,
			VerifyConnection: func(cs tls.ConnectionState) error {
				pub, err := keys.Peer(cs)
				if err != nil {
					return err
				}
				if e.admit != nil {
					return e.admit(keys.PinOf(pub))
				}
				return nil
			},
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
	}
	var serving sync.WaitGroup
	serving.Go(func() { server.ServeTLS(listener, "", "") })
	e.stop = func() {
		cancel()
		server.Close()
		serving.Wait()
	}
}

// shown is the identity that is shown to who asks for a server name.
func (e *engine) shown(serverName string) *keys.Identity {
	_, prefix := wire.ParseServerName(serverName)
	return e.keys.ByPrefix(prefix)
}

func (e *engine) serveEnrol(w http.ResponseWriter, r *http.Request) {
	if personality(r) != wire.EnrolServerName {
		http.Error(w, "wrong server name", http.StatusMisdirectedRequest)
		return
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	q, err := wire.DecodeEnrolRequest(b)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.enrol(w, r, q)
}

// personality is what a request's connection asked for.
func personality(r *http.Request) string {
	name, _ := wire.ParseServerName(r.TLS.ServerName)
	return name
}

// channel is the engine's side of one.
type channel struct {
	engine   *engine
	ws       *websocket.Conn
	identity *keys.Identity // Of the engine, as the agent sees it.
	agent    peer
	hello    wire.Hello
	gone     chan struct{}       // Closed when the reader has ended.
	said     chan wire.FromAgent // All but what comes out of reported.
	reported chan wire.Inventory
	why      error // Why it ended, once gone.
}

// peer is who is at the other end.
type peer struct {
	pin    keys.Pin
	public ed25519.PublicKey
}

// serveChannel welcomes an agent, hands the channel to the test and reads it.
func (e *engine) serveChannel(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	if personality(r) != wire.ServerName {
		http.Error(w, "wrong server name", http.StatusMisdirectedRequest)
		return
	}
	pub, err := keys.Peer(*r.TLS)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	c := &channel{
		engine: e, ws: ws, identity: e.shown(r.TLS.ServerName), agent: peer{keys.PinOf(pub), pub},
		gone: make(chan struct{}), said: make(chan wire.FromAgent, 64), reported: make(chan wire.Inventory, 64),
	}
	first, err := c.read(ctx)
	if err != nil || first.Hello == nil {
		return
	}
	c.hello = *first.Hello
	welcome := wire.Welcome{
		DeviceID: "device-1", State: "active", ServerTime: time.Now().Add(e.ahead).UTC(),
		TokenKeys: e.keys.TokenKeys(c.identity), NextIdentity: e.keys.Next(c.identity),
	}
	if e.welcome != nil {
		e.welcome(&welcome)
	}
	b, err := wire.FromEngine{Welcome: &welcome}.Encode()
	if err != nil || ws.Write(ctx, websocket.MessageText, b) != nil {
		return
	}
	e.channels <- c
	for {
		m, err := c.read(ctx)
		if err != nil {
			c.why = err
			close(c.gone)
			return
		}
		if m.Inventory != nil {
			c.reported <- *m.Inventory // It comes whenever the device has been asked.
			continue
		}
		c.said <- m
		if m.Stopped == nil {
			continue
		}
		if reason := e.record(*m.Stopped); reason != "" {
			b, err := wire.FromEngine{Stop: &wire.Stop{Tunnel: m.Stopped.Tunnel, Reason: reason}}.Encode()
			if err == nil {
				_ = ws.Write(ctx, websocket.MessageText, b) // If it fails, the next read does.
			}
		}
	}
}

func (c *channel) read(ctx context.Context) (wire.FromAgent, error) {
	_, b, err := c.ws.Read(ctx)
	if err != nil {
		return wire.FromAgent{}, err
	}
	return wire.DecodeFromAgent(b)
}

// channel waits for the next one.
func (e *engine) channel(t *testing.T) *channel {
	t.Helper()
	select {
	case c := <-e.channels:
		return c
	case <-time.After(patience):
		t.Fatal("no agent came")
		return nil
	}
}

// send sends a message to the agent.
func (c *channel) send(t *testing.T, m wire.FromEngine) {
	t.Helper()
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ws.Write(t.Context(), websocket.MessageText, b); err != nil {
		t.Fatal(err)
	}
}

// next waits for the agent's next message.
func (c *channel) next(t *testing.T) wire.FromAgent {
	t.Helper()
	select {
	case m := <-c.said:
		return m
	case <-c.gone:
		select {
		case m := <-c.said:
			return m
		default:
		}
		t.Fatalf("the channel ended: %v", c.why)
	case <-time.After(patience):
		t.Fatal("the agent says nothing")
	}
	return wire.FromAgent{}
}

// ended waits until the agent is gone.
func (c *channel) ended(t *testing.T) error {
	t.Helper()
	select {
	case <-c.gone:
		return c.why
	case <-time.After(patience):
		t.Fatal("the agent stays")
		return nil
	}
}
