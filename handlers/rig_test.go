package handlers

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel"
	"borealis/tunnel/keys"
	"borealis/tunnel/keys/seal"
	"borealis/tunnel/wg"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout bounds whatever a test waits for.
const testTimeout = 30 * time.Second

// A rig is a whole engine on a real store, with a real listener.
type rig struct {
	*Server
	t       *testing.T
	store   *store.Store
	path    string // of the database
	manager *tunnel.Manager
	keys    *keys.Engine
	address string // host:port
	logs    *logBuffer
}

// newRig starts an engine that the test closes at its end.
func newRig(t *testing.T, change ...func(*tunnel.Config)) *rig {
	t.Helper()
	return newRigWith(t, func(*Config) {}, change...)
}

// newRigWith starts an engine with other settings of its own and of its tunnels.
func newRigWith(t *testing.T, set func(*Config), change ...func(*tunnel.Config)) *rig {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(t.Context(), dir+"/borealis.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	k, err := keys.OpenEngine(dir+"/Certificates", []string{"localhost", "127.0.0.1"}, seal.New([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, store: db, path: dir + "/borealis.db", keys: k, address: listener.Addr().String(), logs: new(logBuffer)}
	logger := slog.New(slog.NewTextHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c := tunnel.Config{Store: db, Keys: k, PublicEndpoint: "127.0.0.1", Link: wg.Config{Mode: wg.Netstack, Name: "borealis0"}, Logger: logger}
	for _, f := range change {
		f(&c)
	}
	if r.manager, err = tunnel.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.manager.Close)
	settings := Config{
		Store: db, Manager: r.manager, Keys: k, Version: "test", Logger: logger, StepUp: "never",
		Hosts: []string{"127.0.0.1", "localhost"}, PublicAddress: func() string { return r.address },
		Downloads: carried(t),
	}
	set(&settings)
	r.Server, err = New(settings)
	if err != nil {
		t.Fatal(err)
	}
	server := r.HTTPServer()
	served := make(chan error, 1)
	go func() { served <- server.ServeTLS(r.Listener(listener), "", "") }()
	t.Cleanup(func() {
		r.Close()
		server.Close()
		<-served
	})
	return r
}

// A logBuffer keeps what is logged, for tests that look for secrets in it.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// context bounds what a test waits for.
func (r *rig) context() context.Context {
	ctx, cancel := context.WithTimeout(r.t.Context(), testTimeout)
	r.t.Cleanup(cancel)
	return ctx
}

// operatorWith adds an operator with a role, held to some sites when any are named. The
// password is that of every person of these tests.
func (r *rig) operatorWith(name, role string, sites ...string) store.Operator {
	r.t.Helper()
	o, err := r.store.AddOperator(r.t.Context(), store.Operator{Name: name, Role: role, Sites: sites, PasswordHash: testHash()}, prepared)
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

// testHash is the hash of the password of these tests, which takes a while to make.
var testHash = sync.OnceValue(func() string {
	hash, err := HashPassword(testPassword)
	if err != nil {
		panic(err)
	}
	return hash
})

// A client is a browser, or a program when it has a token.
type client struct {
	rig    *rig
	http   *http.Client
	cookie string
	token  string
}

// stranger is a client that is not signed in.
func (r *rig) stranger() *client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}, ForceAttemptHTTP2: true}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &client{rig: r, http: &http.Client{
		Transport: transport, Timeout: testTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// browser is a client with a session of a new operator.
func (r *rig) browser(name, role string, sites ...string) *client {
	r.t.Helper()
	c := r.stranger()
	c.cookie = r.session(r.operatorWith(name, role, sites...), store.Session{ExpiresAt: time.Now().Add(sessionLife)})
	return c
}

// session stores a session and returns its cookie.
func (r *rig) session(o store.Operator, v store.Session) (cookie string) {
	r.t.Helper()
	cookie, v.OperatorID = newSecret(), o.ID
	if _, err := r.store.AddSession(r.t.Context(), HashSecret(cookie), v, prepared); err != nil {
		r.t.Fatal(err)
	}
	return cookie
}

// program is a client with an API token of a new operator.
func (r *rig) program(name, role string, sites ...string) *client {
	r.t.Helper()
	c := r.stranger()
	token, hash := NewAPIToken()
	if _, err := r.store.AddAPIToken(r.t.Context(), hash, store.APIToken{OperatorID: r.operatorWith(name, role, sites...).ID}, prepared); err != nil {
		r.t.Fatal(err)
	}
	c.token = token
	return c
}

// An answer is a response whose body has been read.
type answer struct {
	*http.Response
	body string
}

// request makes a request with the client's credentials. Headers come in pairs; the
// header Host changes the host.
func (c *client) request(method, path, body string, headers ...string) *http.Request {
	c.rig.t.Helper()
	r, err := http.NewRequestWithContext(c.rig.t.Context(), method, "https://"+c.rig.address+path, strings.NewReader(body))
	if err != nil {
		c.rig.t.Fatal(err)
	}
	if body == "" {
		r.Body, r.ContentLength = nil, 0
	}
	if c.cookie != "" {
		r.AddCookie(&http.Cookie{Name: sessionCookie, Value: c.cookie})
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if strings.HasPrefix(path, "/api/") && body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		} else {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	return r
}

// do sends a request and reads the answer.
func (c *client) do(method, path, body string, headers ...string) answer {
	c.rig.t.Helper()
	return c.send(c.request(method, path, body, headers...))
}

func (c *client) send(r *http.Request) answer {
	c.rig.t.Helper()
	response, err := c.http.Do(r)
	if err != nil {
		c.rig.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.rig.t.Fatal(err)
	}
	return answer{response, string(body)}
}

// post sends the fields of a form.
func (c *client) post(path, fields string, headers ...string) answer {
	c.rig.t.Helper()
	return c.do(http.MethodPost, path, fields, append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
}

// problem reads a problem document.
func (a answer) problem(t *testing.T) problem {
	t.Helper()
	var p problem
	if kind := a.Header.Get("Content-Type"); kind != "application/problem+json" {
		t.Fatalf("%s %s: %d %s, not a problem document: %.200s", a.Request.Method, a.Request.URL.Path, a.StatusCode, kind, a.body)
	}
	d := json.NewDecoder(strings.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	if p.Status != a.StatusCode {
		t.Errorf("the problem's status is %d, the answer's %d", p.Status, a.StatusCode)
	}
	return p
}

// into reads a JSON answer.
func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if a.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.body)
	}
	d := json.NewDecoder(strings.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
}

// enrolCode stores a code and returns its secret.
func (r *rig) enrolCode(c store.Code) string {
	r.t.Helper()
	secret := wire.NewSecret()
	if c.ExpiresAt.IsZero() {
		c.ExpiresAt = time.Now().Add(time.Hour)
	}
	if _, err := r.store.AddCode(r.t.Context(), HashSecret(secret), c, prepared); err != nil {
		r.t.Fatal(err)
	}
	return secret
}

// device stores an enrolled device in a state, at a site if one is named.
func (r *rig) device(hostname, state string, site ...string) (store.Device, *keys.Identity) {
	r.t.Helper()
	id, err := keys.NewIdentity(hostname)
	if err != nil {
		r.t.Fatal(err)
	}
	secret := r.enrolCode(store.Code{AutoApprove: state == store.Active, Site: strings.Join(site, "")})
	d, err := r.store.RedeemCode(r.t.Context(), HashSecret(secret), store.Device{Hostname: hostname, OS: "linux", Pin: id.Pin().String()}, time.Now(), prepared)
	if err != nil {
		r.t.Fatal(err)
	}
	if state != d.State {
		if err := r.store.SetDeviceState(r.t.Context(), d.ID, state, time.Now(), prepared); err != nil {
			r.t.Fatal(err)
		}
		d.State = state
	}
	return d, id
}

// prepared marks the records of what a rig does before a test begins.
var prepared = store.Record{Source: "rig"}

// kinds are the kinds of activity on record, oldest first, without the preparations.
func (r *rig) kinds() []string {
	r.t.Helper()
	lines, err := r.store.Records(r.t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, Limit: store.MaxPage})
	if err != nil {
		r.t.Fatal(err)
	}
	var kinds []string
	for i := range lines {
		if line := lines[len(lines)-1-i]; line.Source != prepared.Source {
			kinds = append(kinds, line.Kind)
		}
	}
	return kinds
}
