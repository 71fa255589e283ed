package selftest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	maxKept   = 16 << 20 // bytes of answers that are kept to be searched for secrets
	maxAnswer = 4 << 20  // bytes of one answer
	pollEvery = 5 * time.Millisecond
)

// A webClient does what a browser and a script do, over TLS that it verifies.
type webClient struct {
	base  string
	token string // API token; empty: the session cookie counts
	http  *http.Client
	kept  *keptAnswers
}

// keptAnswers are what an engine sent, for the search for secrets.
type keptAnswers struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (k *keptAnswers) add(b []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all.Len()+len(b) <= maxKept {
		k.all.Write(b)
	}
}

func (k *keptAnswers) bytes() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return bytes.Clone(k.all.Bytes())
}

// newWebClient makes a client of an engine with a certificate. Whoever made it closes it.
func newWebClient(base, token string, cert tls.Certificate, kept *keptAnswers) (*webClient, error) {
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("read the web certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &webClient{base: base, token: token, kept: kept, http: &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (w *webClient) close() { w.http.CloseIdleConnections() }

// An answer is what came back.
type answer struct {
	status int
	body   []byte
}

// problem is what an answer says when it is a refusal.
func (a answer) problem() (code, detail string) {
	var p struct{ Code, Detail string }
	_ = json.Unmarshal(a.body, &p) // else it has none
	return p.Code, p.Detail
}

// ask sends a request; change may alter it.
func (w *webClient) ask(ctx context.Context, method, path string, body any, change ...func(*http.Request)) (answer, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		r = bytes.NewReader(b)
	}
	q, err := http.NewRequestWithContext(ctx, method, w.base+path, r)
	if err != nil {
		return answer{}, err
	}
	q.Header.Set("Accept", "application/json")
	if body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	if w.token != "" {
		q.Header.Set("Authorization", "Bearer "+w.token)
	}
	for _, f := range change {
		f(q)
	}
	resp, err := w.http.Do(q)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if path != "/api/codes" { // an enrolment code is shown to whoever made it
		w.kept.add(b)
	}
	return answer{resp.StatusCode, b}, err
}

// call sends a request that has to succeed and reads its answer into out, which may be nil.
func (w *webClient) call(ctx context.Context, method, path string, body, out any, change ...func(*http.Request)) error {
	a, err := w.ask(ctx, method, path, body, change...)
	if err != nil {
		return err
	}
	if a.status < 200 || a.status > 299 {
		code, detail := a.problem()
		return fmt.Errorf("%s %s: %d %s: %s", method, path, a.status, code, detail)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(a.body, out)
}

// signIn makes a web session with a password.
func (w *webClient) signIn(ctx context.Context, name, password string) error {
	form := url.Values{"name": {name}, "password": {password}}
	a, err := w.ask(ctx, http.MethodPost, "/login", nil, func(q *http.Request) {
		q.Body = io.NopCloser(strings.NewReader(form.Encode()))
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		q.Header.Set("Origin", w.base)
	})
	if err == nil && a.status != http.StatusSeeOther {
		err = fmt.Errorf("the engine answered %d", a.status)
	}
	if err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	return nil
}

// tunnelView is what the API says of a tunnel, as far as the self-test looks at it.
type tunnelView struct {
	TunnelID  string `json:"tunnel_id"`
	State     string `json:"state"`
	Up        bool   `json:"up"`
	Joined    bool   `json:"joined"`
	Reason    string `json:"reason"`
	Token     string `json:"token"`
	VirtualIP string `json:"virtual_ip"`
	EngineIP  string `json:"engine_ip"`
	Endpoint  string `json:"endpoint"`
	ServerKey string `json:"server_public_key"`
	Operators int    `json:"operator_count"`
	Received  int64  `json:"rx_bytes"`
	Sent      int64  `json:"tx_bytes"`
}

func (w *webClient) connect(ctx context.Context, device string) (v tunnelView, err error) {
	return v, w.call(ctx, http.MethodPost, "/api/tunnel/connect", map[string]string{"device_id": device}, &v)
}

func (w *webClient) disconnect(ctx context.Context, device string) (v tunnelView, err error) {
	return v, w.call(ctx, http.MethodDelete, "/api/tunnel/disconnect?device_id="+device, nil, &v)
}

func (w *webClient) status(ctx context.Context, device string) (v tunnelView, err error) {
	return v, w.call(ctx, http.MethodGet, "/api/tunnel/status?device_id="+device, nil, &v)
}

// until asks for the status until it is as wanted, or over without being so.
func (w *webClient) until(ctx context.Context, device, what string, done func(tunnelView) bool) (tunnelView, error) {
	for {
		v, err := w.status(ctx, device)
		switch {
		case err != nil && ctx.Err() == nil:
			return v, err
		case err == nil && done(v):
			return v, nil
		case err == nil && what == "up" && v.State == "ended":
			return v, fmt.Errorf("the tunnel ended before it was up: %s", v.Reason)
		}
		if err := wait(ctx, pollEvery); err != nil {
			return v, fmt.Errorf("waited for %s in vain; the tunnel is %s %s", what, v.State, v.Reason)
		}
	}
}

// up connects and waits until the tunnel works.
func (w *webClient) up(ctx context.Context, device string) (tunnelView, error) {
	made, err := w.connect(ctx, device)
	if err != nil {
		return made, err
	}
	v, err := w.until(ctx, device, "up", func(v tunnelView) bool { return v.Up })
	v.Token, v.Joined, v.EngineIP = made.Token, made.Joined, made.EngineIP
	return v, err
}

// wait waits for a while, or returns why ctx ended.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A webTerminal is an open terminal.
type webTerminal struct {
	conn   *websocket.Conn
	id     string
	offset int64 // of the next byte
	text   strings.Builder
}

// terminal opens a terminal: a new one, or the one named, from an offset on.
func (w *webClient) terminal(ctx context.Context, device, id string, offset int64) (_ *webTerminal, err error) {
	var ticket struct{ Ticket string }
	if err := w.call(ctx, http.MethodPost, "/devices/"+device+"/terminal/ticket", struct{}{}, &ticket); err != nil {
		return nil, err
	}
	conn, resp, err := w.socket(ctx, device, w.base)
	if err != nil {
		return nil, fmt.Errorf("open the terminal's WebSocket: %w", err)
	}
	closeBody(resp)
	conn.SetReadLimit(1 << 20)
	t := &webTerminal{conn: conn}
	defer func() {
		if err != nil {
			conn.CloseNow()
		}
	}()
	open := map[string]any{"ticket": ticket.Ticket, "tab": "selftest", "terminal": id, "offset": offset, "cols": 100, "rows": 30}
	if err := t.send(ctx, open); err != nil {
		return nil, err
	}
	for t.id == "" {
		if err := t.next(ctx); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// socket opens a terminal's WebSocket as a page of an origin.
func (w *webClient) socket(ctx context.Context, device, origin string) (*websocket.Conn, *http.Response, error) {
	header := http.Header{"Origin": {origin}}
	if w.token != "" {
		header.Set("Authorization", "Bearer "+w.token)
	}
	return websocket.Dial(ctx, w.base+"/devices/"+device+"/terminal/ws", &websocket.DialOptions{
		HTTPClient: w.http, HTTPHeader: header, Subprotocols: []string{"terminal.borealis.v1"},
	})
}

func closeBody(resp *http.Response) {
	if resp != nil && resp.Body != nil {
		resp.Body.Close()
	}
}

func (t *webTerminal) send(ctx context.Context, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return t.conn.Write(ctx, websocket.MessageText, b)
}

// typed types.
func (t *webTerminal) typed(ctx context.Context, s string) error {
	return t.conn.Write(ctx, websocket.MessageBinary, []byte(s))
}

// next reads one message. Output is added to the text and acknowledged.
func (t *webTerminal) next(ctx context.Context) error {
	kind, b, err := t.conn.Read(ctx)
	if err != nil {
		return err
	}
	if kind == websocket.MessageBinary {
		t.text.Write(b)
		t.offset += int64(len(b))
		return t.send(ctx, map[string]any{"type": "ack", "offset": t.offset})
	}
	var m struct {
		Type, Terminal, Message, Reason string
		Offset                          int64
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("read a message of the terminal: %w", err)
	}
	switch m.Type {
	case "hello":
		t.id, t.offset = m.Terminal, m.Offset
	case "error":
		return errors.New("the terminal is refused: " + m.Message)
	case "ended":
		return errors.New("the terminal ended: " + m.Reason)
	}
	return nil
}

// expect reads until the output has s in it.
func (t *webTerminal) expect(ctx context.Context, s string) error {
	for !strings.Contains(t.text.String(), s) {
		if err := t.next(ctx); err != nil {
			return fmt.Errorf("wait for %q in the terminal: %w; it shows %.200q", s, err, t.text.String())
		}
	}
	return nil
}
