//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"borealis/tunnel/wg/nstest"
)

// webCertificate makes a certificate for browsers, as somebody would get from an authority.
func webCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "console"}, DNSNames: []string{"console.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// backAgain waits for an agent, and uses a tunnel of it.
func (f *fleet) backAgain(t *testing.T, m *machine) {
	t.Helper()
	f.eventuallyIn(longer, "the agent to be back", func() bool { return f.online(m) })
	f.goLive(t, m)
	f.disconnect(t, m)
}

// TestEngineMoves in all the ways there are; no agent is enrolled again or restarted.
func TestEngineMoves(t *testing.T) {
	t.Parallel()
	if !nstest.Run(t) {
		return
	}
	nstest.TUN(t)
	f := newFleet(t, "--also-at", "203.0.113.1:8443")
	announced, byHand := f.agents[0], f.agents[1]
	pins := make(map[*machine]string)
	for _, m := range f.agents {
		pins[m] = f.agentSays(t, m, "fingerprint", "--json")
	}

	t.Run("another web certificate", func(t *testing.T) {
		f.stopEngine(t)
		cert, key := webCertificate(t)
		f.serve = append(f.serve, "--tls-cert", cert, "--tls-key", key)
		f.startEngine()
		for _, m := range f.agents {
			f.backAgain(t, m)
		}
	})
	t.Run("to an address that was announced", func(t *testing.T) {
		f.readdress(t, announced, "eth0", "192.0.2.", "203.0.113.")
		f.foundAt(t, announced, "203.0.113.1:8443")
		if out := f.agentSays(t, announced, "status", "--json"); !strings.Contains(out, `"engine":"203.0.113.1:8443"`) {
			t.Errorf("the status is %s", out)
		}
	})
	t.Run("to an address that somebody at the device gives", func(t *testing.T) {
		f.readdress(t, byHand, "eth1", "198.51.100.", "100.64.9.")
		if out := f.agentSays(t, byHand, "move", "100.64.9.1:8443"); !strings.Contains(out, "The engine answers at 100.64.9.1:8443") {
			t.Errorf("the agent says %s", out)
		}
		f.foundAt(t, byHand, "100.64.9.1:8443")
	})
	for m, before := range pins {
		after := f.agentSays(t, m, "fingerprint", "--json")
		if cut := strings.LastIndex(before, `"address"`); !strings.HasPrefix(after, before[:cut]) {
			t.Errorf("the fingerprint is %s, and was %s", after, before)
		}
	}
}

// foundAt waits until an agent has found its engine at an address, and uses a tunnel of it.
func (f *fleet) foundAt(t *testing.T, m *machine, address string) {
	t.Helper()
	f.eventuallyIn(longer, "the agent to find the engine at "+address, func() bool {
		return regexp.MustCompile(`msg=agent_connected .*addr=` + regexp.QuoteMeta(address)).MatchString(m.log(t))
	})
	f.backAgain(t, m)
}

// readdress gives the engine another address towards an agent, and takes the one it had.
func (f *fleet) readdress(t *testing.T, m *machine, link, from, to string) {
	t.Helper()
	f.here("ip", "addr", "add", to+"1/24", "dev", link)
	m.host.Output(t, "ip", "addr", "add", to+"2/24", "dev", "eth0")
	f.here("ip", "addr", "del", from+"1/24", "dev", link)
	m.host.Output(t, "ip", "addr", "del", from+"2/24", "dev", "eth0")
}

// TestEngineMovesToAnotherHost with its data, and gets its address there. Its agents find it.
func TestEngineMovesToAnotherHost(t *testing.T) {
	t.Parallel()
	if !nstest.Run(t) {
		return
	}
	nstest.TUN(t)
	f := newFleet(t)
	m := f.agents[0]
	f.stopEngine(t)
	data := filepath.Join(t.TempDir(), "moved")
	f.here("cp", "-a", f.data, data)
	f.here("mv", f.data+".key", data+".key")                              // What unseals them lies beside them, and moves too.
	if err := os.RemoveAll(filepath.Join(f.data, "Engine")); err != nil { // Nobody else is the engine now.
		t.Fatal(err)
	}
	other := nstest.NewHost(t, "second engine")
	m.host.Output(t, "ip", "link", "set", "eth0", "down")
	m.host.Output(t, "ip", "addr", "flush", "dev", "eth0")
	nstest.Join(t, other, netip.MustParsePrefix("192.0.2.1/24"), m.host, netip.MustParsePrefix("192.0.2.3/24"))
	before := strings.Count(m.log(t), "msg=agent_connected")
	engine := exec.Command(filepath.Join(f.bin, "borealis"), "serve", "--data", data, "--listen", ":8443")
	text, err := os.Create(filepath.Join(t.TempDir(), "engine.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	engine.Stderr = text
	other.Start(t, engine)
	defer func() {
		if said, err := os.ReadFile(text.Name()); t.Failed() {
			t.Logf("the engine says %s, %v", said, err)
		}
	}()
	f.eventually("the agent on the other host's engine", func() bool { return strings.Count(m.log(t), "msg=agent_connected") > before })
	if c := f.doctorOf(t, m)["udp"]; !c.OK || !strings.Contains(c.Detail, "UDP 192.0.2.1:30000 answers") {
		t.Errorf("udp: %+v", c)
	}
}
