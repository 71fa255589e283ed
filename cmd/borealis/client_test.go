package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A client does what a browser and a script do: it signs in, calls the API and
// opens terminals, over real TLS.
type client struct {
	t      testing.TB
	base   string
	token  string // API token; empty = the session cookie counts
	http   *http.Client
	device string
	shell  string // that new terminals ask for; empty = the device's own

	mu     sync.Mutex
	bodies bytes.Buffer // all that the engine sent, for the search for secrets
}

func newClient(t testing.TB, base, token string) *client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // self-signed
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t: t, base: base, token: token, http: &http.Client{
		Transport: transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// keep remembers what the engine sent.
func (c *client) keep(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bodies.Write(p)
}

// do sends a request with a JSON body, or none, and decodes the answer into out.
func (c *client) do(ctx context.Context, method, path string, body, out any) int {
	c.t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			c.t.Fatal(err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, r)
	if err != nil {
		c.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	c.keep(b)
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			c.t.Fatalf("%s %s: %d %s: %v", method, path, resp.StatusCode, b, err)
		}
	}
	return resp.StatusCode
}

// signIn makes a web session with a password.
func (c *client) signIn(ctx context.Context, name, password string) {
	c.t.Helper()
	form := url.Values{"name": {name}, "password": {password}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/login", strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", c.base)
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther {
		b, _ := io.ReadAll(resp.Body)
		c.t.Fatalf("sign in: %d %s", resp.StatusCode, b)
	}
}

// tunnelState is what the API says of a tunnel, as far as these tests look at it.
type tunnelState struct {
	TunnelID  string `json:"tunnel_id"`
	State     string `json:"state"`
	Up        bool   `json:"up"`
	Joined    bool   `json:"joined"`
	Reason    string `json:"reason"`
	Token     string `json:"token"`
	VirtualIP string `json:"virtual_ip"`
	EngineIP  string `json:"engine_ip"`
	Operators int    `json:"operator_count"`
	Received  int64  `json:"rx_bytes"`
	Sent      int64  `json:"tx_bytes"`
	Code      string `json:"code"` // of a problem document
}

func (c *client) connect(ctx context.Context) tunnelState {
	c.t.Helper()
	var st tunnelState
	if code := c.do(ctx, http.MethodPost, "/api/tunnel/connect", map[string]any{"device_id": c.device}, &st); code != http.StatusOK {
		c.t.Fatalf("connect: %d %+v", code, st)
	}
	return st
}

func (c *client) status(ctx context.Context) tunnelState {
	c.t.Helper()
	var st tunnelState
	if code := c.do(ctx, http.MethodGet, "/api/tunnel/status?device_id="+c.device, nil, &st); code != http.StatusOK {
		c.t.Fatalf("status: %d %+v", code, st)
	}
	return st
}

// until polls the status until it is as wanted.
func (c *client) until(ctx context.Context, what string, done func(tunnelState) bool) tunnelState {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	var st tunnelState
	for {
		select {
		case <-ctx.Done():
			c.t.Fatalf("waited for %s; the tunnel is %+v", what, st)
		case <-tick.C:
		}
		if st = c.status(ctx); done(st) {
			return st
		}
	}
}

func (c *client) untilUp(ctx context.Context) tunnelState {
	c.t.Helper()
	return c.until(ctx, "up", func(st tunnelState) bool { return st.Up })
}

// A term is an open terminal WebSocket.
type term struct {
	t        testing.TB
	client   *client
	conn     *websocket.Conn
	id       string
	offset   int64 // of the next byte
	text     strings.Builder
	controls []map[string]any
}

// terminal opens a terminal: a new one, or the one named, from an offset on.
func (c *client) terminal(ctx context.Context, id string, offset int64) *term {
	c.t.Helper()
	var ticket struct{ Ticket string }
	if code := c.do(ctx, http.MethodPost, "/devices/"+c.device+"/terminal/ticket", struct{}{}, &ticket); code != http.StatusOK {
		c.t.Fatalf("ticket: %d", code)
	}
	header := http.Header{"Origin": {c.base}}
	if c.token != "" {
		header.Set("Authorization", "Bearer "+c.token)
	}
	conn, _, err := websocket.Dial(ctx, c.base+"/devices/"+c.device+"/terminal/ws", &websocket.DialOptions{
		HTTPClient: c.http, HTTPHeader: header, Subprotocols: []string{"terminal.borealis.v1"},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	w := &term{t: c.t, client: c, conn: conn}
	c.t.Cleanup(func() { conn.CloseNow() })
	open := map[string]any{"ticket": ticket.Ticket, "tab": "tab-of-the-test", "terminal": id, "offset": offset, "cols": 100, "rows": 30}
	if c.shell != "" {
		open["shell"] = c.shell
	}
	w.send(ctx, open)
	for {
		m := w.next(ctx)
		switch m["type"] {
		case "hello":
			w.id = m["terminal"].(string)
			w.offset = int64(m["offset"].(float64))
			return w
		case "error":
			c.t.Fatalf("terminal: %v", m)
		}
	}
}

func (w *term) send(ctx context.Context, v any) {
	w.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.conn.Write(ctx, websocket.MessageText, b); err != nil {
		w.t.Fatal(err)
	}
}

func (w *term) typed(ctx context.Context, s string) {
	w.t.Helper()
	if err := w.conn.Write(ctx, websocket.MessageBinary, []byte(s)); err != nil {
		w.t.Fatal(err)
	}
}

// next reads one message. Output is added to the text and acknowledged; a control
// message is returned, and nil for output.
func (w *term) next(ctx context.Context) map[string]any {
	w.t.Helper()
	kind, b, err := w.conn.Read(ctx)
	if err != nil {
		w.t.Fatalf("terminal: %v; so far %q %v", err, w.text.String(), w.controls)
	}
	if kind == websocket.MessageBinary {
		w.text.Write(b)
		w.offset += int64(len(b))
		w.send(ctx, map[string]any{"type": "ack", "offset": w.offset})
		return nil
	}
	w.client.keep(b)
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		w.t.Fatalf("control message %q: %v", b, err)
	}
	w.controls = append(w.controls, m)
	return m
}

// expect reads until the output contains s.
func (w *term) expect(ctx context.Context, s string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for !strings.Contains(w.text.String(), s) {
		w.next(ctx)
	}
}

// control reads until a control message of a type arrives.
func (w *term) control(ctx context.Context, kind string) map[string]any {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		if m := w.next(ctx); m != nil && m["type"] == kind {
			return m
		}
	}
}

// startDemo runs the demo command in this process until the test ends, and returns
// a client with its API token.
func startDemo(t *testing.T, args ...string) (*client, demoReady) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	var text bytes.Buffer
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append([]string{"demo", "--json", "--listen", "127.0.0.1:0", "--udp-port", "0"}, args...), in, &text)
		in.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != exitDone {
			t.Errorf("the demo ended with %d: %s", code, text.String())
		}
	})
	var d demoReady
	if err := json.NewDecoder(out).Decode(&d); err != nil {
		cancel()
		t.Fatalf("the demo did not come up: %v %s", err, fmt.Sprint(&text))
	}
	c := newClient(t, d.URL, d.APIToken)
	c.device = d.DeviceID
	return c, d
}
