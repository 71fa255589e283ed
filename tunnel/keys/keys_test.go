package keys_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"borealis/tunnel/keys"
)

func identity(t *testing.T) *keys.Identity {
	t.Helper()
	id, err := keys.NewIdentity("test")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestPinText(t *testing.T) {
	t.Parallel()
	pin := identity(t).Pin()
	text := pin.String()
	if len(text) != 52 || text != strings.ToLower(text) || strings.Contains(text, "=") {
		t.Fatalf("pin %q is not 52 characters of lower-case base32 without padding", text)
	}
	got, err := keys.ParsePin(text)
	if err != nil || got != pin {
		t.Fatalf("ParsePin(%q) = %v, %v", text, got, err)
	}
	b, err := json.Marshal(map[string]keys.Pin{"p": pin})
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]keys.Pin
	if err := json.Unmarshal(b, &back); err != nil || back["p"] != pin {
		t.Fatalf("JSON %s came back as %v, %v", b, back, err)
	}
	bad := map[string]string{
		"empty":         "",
		"short":         text[:51],
		"long":          text + "a",
		"upper case":    strings.ToUpper(text),
		"not base32":    "1" + text[1:],
		"padding":       text[:51] + "=",
		"line break":    text[:51] + "\n",
		"stray bits":    strings.Repeat("a", 51) + "b",
		"space in it":   text[:20] + " " + text[21:],
		"multibyte end": text[:50] + "é",
	}
	for name, s := range bad {
		if p, err := keys.ParsePin(s); err == nil || !p.IsZero() {
			t.Errorf("%s: ParsePin(%q) = %v, %v; want an error", name, s, p, err)
		}
	}
}

func TestPinIsOfTheKeyAlone(t *testing.T) {
	t.Parallel()
	a, b := identity(t), identity(t)
	if a.Pin() == b.Pin() {
		t.Error("two identities have one pin")
	}
	if keys.PinOf(a.Public()) != a.Pin() {
		t.Error("PinOf the key is not the pin of its certificate")
	}
	if keys.PinOfCertificate(a.TLS().Leaf) != a.Pin() {
		t.Error("PinOfCertificate is not the identity's pin")
	}
}

func TestSignatureKeepsToItsContext(t *testing.T) {
	t.Parallel()
	id := identity(t)
	sig := id.Sign("one thing", []byte("message"))
	tests := []struct {
		name    string
		pub     ed25519.PublicKey
		context string
		msg     string
		want    bool
	}{
		{"right", id.Public(), "one thing", "message", true},
		{"other context", id.Public(), "other thing", "message", false},
		{"no context", id.Public(), "", "one thing\x00message", false},
		{"shifted border", id.Public(), "one", " thing\x00message", false},
		{"other message", id.Public(), "one thing", "massage", false},
		{"other key", identity(t).Public(), "one thing", "message", false},
		{"no key", nil, "one thing", "message", false},
	}
	for _, tt := range tests {
		if got := keys.Verify(tt.pub, tt.context, []byte(tt.msg), sig); got != tt.want {
			t.Errorf("%s: Verify = %v, want %v", tt.name, got, tt.want)
		}
	}
	if keys.Verify(id.Public(), "one thing", []byte("message"), sig[:63]) {
		t.Error("a short signature passes")
	}
}

func TestTokenKeyCheck(t *testing.T) {
	t.Parallel()
	e, err := keys.OpenEngine(t.TempDir(), nil, box)
	if err != nil {
		t.Fatal(err)
	}
	other, err := keys.OpenEngine(t.TempDir(), nil, box)
	if err != nil {
		t.Fatal(err)
	}
	good, foreign := e.TokenKeys(e.Identity)[0], other.TokenKeys(other.Identity)[0]
	if len(good.ID) != 16 {
		t.Errorf("id %q is not 16 digits", good.ID)
	}
	change := func(f func(*keys.TokenKey)) keys.TokenKey {
		k := e.TokenKeys(e.Identity)[0]
		f(&k)
		return k
	}
	tests := []struct {
		name string
		key  keys.TokenKey
		ok   bool
	}{
		{"genuine", good, true},
		{"another engine's", foreign, false},
		{"another engine's key with our signature", change(func(k *keys.TokenKey) { k.Public, k.ID = foreign.Public, foreign.ID }), false},
		{"id of another key", change(func(k *keys.TokenKey) { k.ID = foreign.ID }), false},
		{"no id", change(func(k *keys.TokenKey) { k.ID = "" }), false},
		{"no signature", change(func(k *keys.TokenKey) { k.Signature = nil }), false},
		{"short key", change(func(k *keys.TokenKey) { k.Public = k.Public[:31] }), false},
		{"no key", keys.TokenKey{}, false},
		{"signed for another purpose", change(func(k *keys.TokenKey) { k.Signature = e.Identity.Sign("policy", k.Public) }), false},
	}
	for _, tt := range tests {
		if err := tt.key.Check(e.Identity.Public()); (err == nil) != tt.ok {
			t.Errorf("%s: Check = %v, want ok %v", tt.name, err, tt.ok)
		}
	}
}

// chain is a TLS certificate of der certificates, leaf first.
func chain(key any, der ...[]byte) tls.Certificate {
	return tls.Certificate{Certificate: der, PrivateKey: key}
}

// signed makes a certificate of its own kind.
func signed(t *testing.T, pub, key any, ca bool) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "zoo"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// handshake returns what Peer says on the client's side of a TLS handshake.
func handshake(t *testing.T, server *tls.Config) (pub ed25519.PublicKey, peerErr error) {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	var done sync.WaitGroup
	done.Go(func() {
		s := tls.Server(there, server)
		if s.HandshakeContext(t.Context()) == nil {
			s.Read(make([]byte, 1))
		}
	})
	client := tls.Client(here, &tls.Config{
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			pub, peerErr = keys.Peer(cs)
			return peerErr
		},
	})
	if err := client.HandshakeContext(t.Context()); err != nil && peerErr == nil {
		t.Errorf("handshake: %v", err)
	}
	here.Close()
	done.Wait()
	return pub, peerErr
}

func TestPeerZoo(t *testing.T) {
	t.Parallel()
	id, other := identity(t), identity(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		config *tls.Config
		want   string
	}{
		{"an identity", &tls.Config{Certificates: []tls.Certificate{id.TLS()}}, ""},
		{"TLS 1.2", &tls.Config{Certificates: []tls.Certificate{id.TLS()}, MaxVersion: tls.VersionTLS12}, "not TLS 1.3"},
		{"two certificates", &tls.Config{Certificates: []tls.Certificate{chain(id.Private(), id.TLS().Certificate[0], other.TLS().Certificate[0])}}, "2 certificates"},
		{"an authority", &tls.Config{Certificates: []tls.Certificate{chain(id.Private(), signed(t, id.Public(), id.Private(), true))}}, "authority"},
		{"an ECDSA key", &tls.Config{Certificates: []tls.Certificate{chain(ec, signed(t, ec.Public(), ec, false))}}, "ECDSA key"},
	}
	for _, tt := range tests {
		pub, err := handshake(t, tt.config)
		if tt.want == "" {
			if err != nil || !pub.Equal(id.Public()) {
				t.Errorf("%s: Peer = %x, %v", tt.name, pub, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Peer says %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := keys.Peer(tls.ConnectionState{Version: tls.VersionTLS13}); err == nil {
		t.Error("nobody passes as a peer")
	}
}

func TestAgentRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/VPN_Client"
	if _, err := keys.OpenAgent(dir); !errors.Is(err, keys.ErrNotEnrolled) {
		t.Fatalf("OpenAgent of nothing: %v, want ErrNotEnrolled", err)
	}
	id, err := keys.OpenAgentIdentity(dir, "device")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.OpenAgent(dir); !errors.Is(err, keys.ErrNotEnrolled) {
		t.Fatalf("OpenAgent before enrolment: %v, want ErrNotEnrolled", err)
	}
	engine := identity(t).Pin()
	for _, address := range []string{"", "host", "host:", ":8443", "host:0", "host:http", "host:65536"} {
		if err := keys.SaveAgent(dir, engine, address); err == nil {
			t.Errorf("SaveAgent with address %q passes", address)
		}
	}
	if err := keys.SaveAgent(dir, keys.Pin{}, "host:8443"); err == nil {
		t.Error("SaveAgent without a pin passes")
	}
	for _, address := range []string{"engine.example:8443", "[2001:db8::1]:443"} {
		if err := keys.SaveAgent(dir, engine, address); err != nil {
			t.Fatal(err)
		}
		a, err := keys.OpenAgent(dir)
		if err != nil {
			t.Fatal(err)
		}
		if a.Engine != engine || a.Address != address || a.Identity.Pin() != id.Pin() {
			t.Errorf("OpenAgent = %v %q %v, want %v %q %v", a.Engine, a.Address, a.Identity.Pin(), engine, address, id.Pin())
		}
	}
}
