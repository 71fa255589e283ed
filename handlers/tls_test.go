package handlers

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"
	"borealis/tunnel/keys"
	"borealis/tunnel/keys/seal"
)

// dialer is a client that asks for a TLS name with certificates.
func (r *rig) dialer(name string, certificates ...tls.Certificate) *client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, ServerName: name, Certificates: certificates, ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &client{rig: r, http: &http.Client{Transport: transport, Timeout: testTimeout}}
}

// get asks for a path, as the host of the TLS name; err is of the connection.
func (c *client) get(path string, headers ...string) (status int, err error) {
	response, err := c.http.Do(c.request(http.MethodGet, path, "", headers...))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// ecdsaCertificate is a client certificate of another kind of key.
func ecdsaCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestAgentPersonality(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, active := r.device("active", store.Active)
	_, pending := r.device("pending", store.Pending)
	_, quarantined := r.device("quarantined", store.Quarantined)
	_, revoked := r.device("revoked", store.Revoked)
	unknown, err := keys.NewIdentity("unknown")
	if err != nil {
		t.Fatal(err)
	}
	two := active.TLS()
	two.Certificate = append(two.Certificate, unknown.TLS().Certificate...)
	stolen := active.TLS() // the certificate without its key
	stolen.PrivateKey = unknown.Private()
	for _, c := range []struct {
		name         string
		certificates []tls.Certificate
		in           bool
	}{
		{"nobody", nil, false},
		{"unknown key", []tls.Certificate{unknown.TLS()}, false},
		{"another kind of key", []tls.Certificate{ecdsaCertificate(t)}, false},
		{"two certificates", []tls.Certificate{two}, false},
		{"somebody else's certificate", []tls.Certificate{stolen}, false},
		{"quarantined device", []tls.Certificate{quarantined.TLS()}, false},
		{"revoked device", []tls.Certificate{revoked.TLS()}, false},
		{"pending device", []tls.Certificate{pending.TLS()}, true},
		{"active device", []tls.Certificate{active.TLS()}, true},
	} {
		status, err := r.dialer(wire.ServerName, c.certificates...).get("/")
		if (err == nil) != c.in || (c.in && status != http.StatusNotFound) {
			t.Errorf("%s: %d %v", c.name, status, err)
		}
	}
}

// TestRevokedWhileConnected: a connection that was made before does not help.
func TestRevokedWhileConnected(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device("pc", store.Active)
	c := r.dialer(wire.ServerName, id.TLS())
	if status, err := c.get("/"); status != http.StatusNotFound {
		t.Fatal(status, err)
	}
	if err := r.store.SetDeviceState(t.Context(), d.ID, store.Revoked, time.Now(), store.Record{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	if status, err := c.get(wire.PathChannel, "Connection", "Upgrade", "Upgrade", "websocket"); err == nil && status != http.StatusConflict {
		t.Errorf("on the old connection: %d", status)
	}
	c.http.CloseIdleConnections()
	if status, err := c.get(wire.PathChannel); err == nil {
		t.Errorf("on a new connection: %d", status)
	}
}

// TestNoPersonalityReachesAnother: by path, by Host header, or by upper case.
func TestNoPersonalityReachesAnother(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, id := r.device("pc", store.Active)
	stranger, err := keys.NewIdentity("stranger")
	if err != nil {
		t.Fatal(err)
	}
	session := r.session(r.operatorWith("ann", access.Admin), store.Session{ExpiresAt: time.Now().Add(time.Hour)})
	operatorPaths := []string{"/login", "/healthz", "/api/devices", "/devices", "/events", "/_s/x/app.css", "/"}
	for name, c := range map[string]*client{
		"agent": r.dialer(wire.ServerName, id.TLS()),
		"enrol": r.dialer(wire.EnrolServerName, stranger.TLS()),
		"AGENT": r.dialer(strings.ToUpper(wire.ServerName), id.TLS()),
	} {
		c.cookie = session // even with one
		for _, path := range operatorPaths {
			for _, host := range []string{r.address, "localhost", "127.0.0.1"} {
				if status, err := c.get(path, "Host", host); status != http.StatusNotFound {
					t.Errorf("%s reaches %s at %s: %d %v", name, path, host, status, err)
				}
			}
		}
	}
	for name, path := range map[string]string{wire.ServerName: wire.PathEnrol, wire.EnrolServerName: wire.PathChannel} {
		if status, err := r.dialer(name, id.TLS()).get(path); status != http.StatusNotFound {
			t.Errorf("%s reaches %s: %d %v", name, path, status, err)
		}
	}
	for _, name := range []string{"", "localhost", "borealis.internal", "x." + wire.ServerName} {
		for _, path := range []string{wire.PathChannel, wire.PathEnrol} {
			c := r.dialer(name, id.TLS())
			c.cookie = session
			if status, err := c.get(path); status != http.StatusNotFound {
				t.Errorf("a browser that asks for %q reaches %s: %d %v", name, path, status, err)
			}
			if status, err := c.get(path, "Host", wire.ServerName); status != http.StatusMisdirectedRequest {
				t.Errorf("a browser that calls it %q: %d %v", name, status, err)
			}
		}
	}
}

// TestCertificates: agents meet the key that they have pinned, in TLS 1.3 and never
// resumed; browsers meet the web certificate.
func TestCertificates(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, id := r.device("pc", store.Active)
	for _, c := range []struct {
		name     string
		identity bool
	}{{wire.ServerName, true}, {wire.EnrolServerName, true}, {"localhost", false}, {"", false}} {
		config := &tls.Config{InsecureSkipVerify: true, ServerName: c.name, Certificates: []tls.Certificate{id.TLS()}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		for range 2 {
			state := r.handshake(config)
			_, isEd25519 := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
			if pinned := keys.PinOfCertificate(state.PeerCertificates[0]) == r.keys.Identity.Pin(); pinned != c.identity || isEd25519 != c.identity {
				t.Errorf("%q meets the identity: %v", c.name, pinned)
			}
			if c.identity && (state.DidResume || state.Version != tls.VersionTLS13) {
				t.Errorf("%q: resumed %v, %s", c.name, state.DidResume, tls.VersionName(state.Version))
			}
		}
		config.MaxVersion = tls.VersionTLS12
		conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", r.address)
		if err == nil {
			conn.Close()
		}
		if (err != nil) != c.identity {
			t.Errorf("%q with TLS 1.2: %v", c.name, err)
		}
	}
}

func TestIdentityByTheNameThatIsAskedFor(t *testing.T) {
	t.Parallel()
	dir, box := t.TempDir(), seal.New([32]byte{1})
	if _, err := keys.OpenEngine(dir, nil, box); err != nil {
		t.Fatal(err)
	}
	old, fresh, err := keys.RotateIdentity(dir, box, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	k, err := keys.OpenEngine(dir, nil, box)
	if err != nil {
		t.Fatal(err)
	}
	r := newRigWith(t, func(c *Config) { c.Keys = k }, func(c *tunnel.Config) { c.Keys = k })
	r.keys = k
	_, id := r.device("pc", store.Active)
	for name, want := range map[string]keys.Pin{
		wire.ServerName:                                           fresh,
		wire.EnrolServerName:                                      fresh,
		wire.ServerNameFor(wire.ServerName, fresh):                fresh,
		wire.ServerNameFor(wire.ServerName, old):                  old,
		wire.ServerNameFor(wire.EnrolServerName, old):             old,
		wire.ServerNameFor(wire.ServerName, keys.Pin{1}):          fresh, // Which that agent refuses.
		wire.ServerNameFor(wire.EnrolServerName, keys.Pin{1}):     fresh,
		strings.ToUpper(wire.ServerNameFor(wire.ServerName, old)): old,
	} {
		state := r.handshake(&tls.Config{InsecureSkipVerify: true, ServerName: name, Certificates: []tls.Certificate{id.TLS()}})
		if got := keys.PinOfCertificate(state.PeerCertificates[0]); got != want {
			t.Errorf("%s shows %v, want %v", name, got, want)
		}
	}
	for pin, by := range map[keys.Pin]*keys.Identity{old: k.Previous, fresh: k.Identity} {
		conn, err := r.dialAgentAs(wire.ServerNameFor(wire.ServerName, pin), id, wire.Subprotocol)
		if err != nil {
			t.Fatal(err)
		}
		r.say(conn, wire.FromAgent{Hello: &goodHello})
		w := r.hear(conn).Welcome
		if err := w.TokenKeys[0].Check(by.Public()); err != nil {
			t.Errorf("the welcome of %v: %v", pin, err)
		}
		if (w.NextIdentity != nil) != (pin == old) {
			t.Errorf("the welcome of %v announces %+v", pin, w.NextIdentity)
		}
		conn.CloseNow()
	}
	// What looks like it is none of it.
	for _, name := range []string{"a." + wire.ServerName, old.String() + "." + wire.ServerName, old.String()[:16] + "." + "borealis.internal"} {
		if status, err := r.dialer(name, id.TLS()).get(wire.PathChannel, "Host", wire.ServerName); err == nil && status < 400 {
			t.Errorf("%s reaches the channel: %d", name, status)
		}
	}
}

func TestRefusedHandshakesAreLogged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	revoked, id := r.device("revoked", store.Revoked)
	unknown, err := keys.NewIdentity("unknown")
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []*keys.Identity{id, unknown} {
		if _, err := r.dialer(wire.ServerName, who.TLS()).get("/"); err == nil {
			t.Error("it is let in")
		}
	}
	for _, words := range []string{revoked.ID + " is revoked", unknown.Pin().String()} {
		found := false
		for line := range strings.Lines(r.logs.String()) {
			found = found || strings.Contains(line, "level=DEBUG msg=agent_refused addr=127.0.0.1:") && strings.Contains(line, words)
		}
		if !found {
			t.Errorf("no line says %q:\n%s", words, r.logs)
		}
	}
}

// handshake connects and exchanges a request, so that tickets would have arrived.
func (r *rig) handshake(config *tls.Config) tls.ConnectionState {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), testTimeout)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		r.t.Fatal(err)
	}
	return conn.(*tls.Conn).ConnectionState()
}

func TestBrowsersGetHTTP2(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if a := r.stranger().do(http.MethodGet, "/healthz", ""); a.Proto != "HTTP/2.0" {
		t.Errorf("browsers speak %s", a.Proto)
	}
}
