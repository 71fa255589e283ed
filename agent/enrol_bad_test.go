package agent_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/agent"
	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// snapshot is the content of all files in a folder.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestEnrolWithASecondEngine needs a word of its own, and failing with it changes nothing.
func TestEnrolWithASecondEngine(t *testing.T) {
	t.Parallel()
	first, second := newEngine(t), newEngine(t)
	data := t.TempDir()
	if _, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: data, Code: codeFor(first).String()}); err != nil {
		t.Fatal(err)
	}
	yes := second.enrol
	second.enrol = func(http.ResponseWriter, *http.Request, wire.EnrolRequest) { t.Error("the second engine is asked") }
	before := snapshot(t, data)
	_, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: data, Code: codeFor(second).String()})
	if !errors.Is(err, agent.ErrOtherEngine) {
		t.Fatalf("without a word: %v, want ErrOtherEngine", err)
	}
	for _, part := range []string{first.address, first.keys.Identity.Pin().String(), second.keys.Identity.Pin().String(), "--replace"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if diff := cmp.Diff(before, snapshot(t, data)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}

	second.enrol = func(w http.ResponseWriter, _ *http.Request, _ wire.EnrolRequest) {
		problem(w, http.StatusGone, "code_expired", "The code has expired.", "Make a new code.")
	}
	replace := agent.EnrolConfig{Data: data, Code: codeFor(second).String(), Replace: true}
	if _, err = agent.Enrol(t.Context(), replace); err == nil || !strings.Contains(err.Error(), "The code has expired. Make a new code.") {
		t.Errorf("refused by the second: %v", err)
	}
	if diff := cmp.Diff(before, snapshot(t, data)); diff != "" {
		t.Errorf("files after a refusal (-before +after):\n%s", diff)
	}

	second.enrol = yes
	old := deviceOf(t, data)
	var notices []string
	replace.Notice = func(s string) { notices = append(notices, s) }
	if _, err := agent.Enrol(t.Context(), replace); err != nil {
		t.Fatal(err)
	}
	k, err := keys.OpenAgent(vpnClient(data))
	if err != nil || k.Engine != second.keys.Identity.Pin() || k.Address != second.address || k.Identity.Pin() == old {
		t.Errorf("replaced: %+v, %v", k, err)
	}
	aside, err := filepath.Glob(vpnClient(data) + ".replaced-*")
	if err != nil || len(aside) != 1 || len(notices) != 1 || !strings.Contains(notices[0], aside[0]) {
		t.Fatalf("aside are %v, %v, and it says %q", aside, err, notices)
	}
	if k, err := keys.OpenAgent(aside[0]); err != nil || k.Identity.Pin() != old {
		t.Errorf("aside is %+v, %v", k, err)
	}
}

// deviceOf is the pin of an enrolled device.
func deviceOf(t *testing.T, data string) keys.Pin {
	t.Helper()
	f, err := agent.ReadFingerprint(data)
	if err != nil {
		t.Fatal(err)
	}
	return f.Device
}

// TestReplaceNeedsAnAgentThatRests: its files cannot be moved under it.
func TestReplaceNeedsAnAgentThatRests(t *testing.T) {
	t.Parallel()
	e, other := newEngine(t), newEngine(t)
	d := newDevice(t, e)
	e.channel(t)
	_, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: d.data, Code: codeFor(other).String(), Replace: true})
	if !errors.Is(err, keys.ErrInUse) || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("while the agent runs: %v", err)
	}
}

// TestReplaceGivesUpDamagedKeys, which nothing else does.
func TestReplaceGivesUpDamagedKeys(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	data := t.TempDir()
	enrol := func(replace bool) error {
		_, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: data, Code: codeFor(e).String(), Replace: replace})
		return err
	}
	if err := enrol(true); err != nil { // With nothing to replace.
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(vpnClient(data), "engine.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, data)
	if err := enrol(false); err == nil || !strings.Contains(err.Error(), "engine.json is damaged") || !strings.Contains(err.Error(), "--replace") {
		t.Errorf("over damaged keys: %v", err)
	}
	if diff := cmp.Diff(before, snapshot(t, data)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
	if err := enrol(true); err != nil {
		t.Errorf("replacing damaged keys: %v", err)
	}
	if _, err := agent.ReadFingerprint(data); err != nil {
		t.Error(err)
	}
}

// TestEnrolWithAWrongClock works, and says by how much it is wrong.
func TestEnrolWithAWrongClock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ahead time.Duration // Of this device's clock.
		says  string        // "" for nothing.
	}{
		{3 * 24 * time.Hour, "3 days ahead of the engine's"},
		{-3 * 24 * time.Hour, "3 days behind the engine's"},
		{2 * time.Hour, "2h0m0s ahead of"},
		{time.Minute, ""},
		{-time.Minute, ""},
	} {
		e := newEngine(t)
		yes := e.enrol
		e.enrol = func(w http.ResponseWriter, r *http.Request, q wire.EnrolRequest) {
			w.Header().Set("Date", time.Now().Add(-c.ahead).Add(time.Second).UTC().Format(http.TimeFormat))
			yes(w, r, q)
		}
		var notices []string
		log := newJournal()
		_, err := agent.Enrol(t.Context(), agent.EnrolConfig{
			Data: t.TempDir(), Code: codeFor(e).String(), Logger: slog.New(log), Notice: func(s string) { notices = append(notices, s) },
		})
		said := strings.Join(notices, "\n")
		rounded := strings.NewReplacer("1h59m59s", "2h0m0s", "1h59m58s", "2h0m0s").Replace(said)
		if err != nil || (c.says == "") != (said == "") || !strings.Contains(rounded, c.says) {
			t.Errorf("%v ahead: it says %q, %v; want %q", c.ahead, said, err, c.says)
		}
	}
}

// inspected is a certificate as a proxy makes it that looks into TLS.
func inspected(t *testing.T) tls.Certificate {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Example Corp \x1b[31m Inspection CA"}, IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "engine"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestEnrolThroughWhatIsNoEngine tells a proxy that looks into TLS by its name, and the others
// by what they speak. None of them hears the secret.
func TestEnrolThroughWhatIsNoEngine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config *tls.Config // nil is no TLS.
		says   []string
	}{
		"a proxy that looks into TLS": {&tls.Config{Certificates: []tls.Certificate{inspected(t)}}, []string{`"Example Corp [31m Inspection CA"`, "proxy or a virus scanner", "unchanged"}},
		"one of old":                  {&tls.Config{Certificates: []tls.Certificate{inspected(t)}, MaxVersion: tls.VersionTLS12}, []string{"does not speak TLS 1.3", "proxy"}},
		"a web server without TLS":    {nil, []string{"does not speak TLS 1.3", "port"}},
	} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Errorf("%s: it hears a request", name) }))
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		if c.config != nil {
			server.TLS = c.config
			server.StartTLS()
		} else {
			server.Config.Handler = nil // A TLS hello is a bad request to it.
			server.Start()
		}
		id, err := keys.NewIdentity("engine")
		if err != nil {
			t.Fatal(err)
		}
		data := t.TempDir()
		code := wire.Code{Address: server.Listener.Addr().String(), Pin: id.Pin(), Secret: wire.NewSecret()}
		_, err = agent.Enrol(t.Context(), agent.EnrolConfig{Data: data, Code: code.String()})
		server.Close()
		for _, part := range c.says {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v does not say %q", name, err, part)
			}
		}
		if _, err := keys.OpenAgent(vpnClient(data)); !errors.Is(err, keys.ErrNotEnrolled) {
			t.Errorf("%s: afterwards: %v, want ErrNotEnrolled", name, err)
		}
	}
}

// TestEnrolWhereNobodyListens says what to look at.
func TestEnrolWhereNobodyListens(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	id, err := keys.NewIdentity("engine")
	if err != nil {
		t.Fatal(err)
	}
	code := wire.Code{Address: l.Addr().String(), Pin: id.Pin(), Secret: wire.NewSecret()}
	if _, err = agent.Enrol(t.Context(), agent.EnrolConfig{Data: t.TempDir(), Code: code.String()}); err == nil || !strings.Contains(err.Error(), "does every firewall on the way let TCP through") {
		t.Errorf("it says %v", err)
	}
}
