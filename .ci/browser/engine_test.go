package browser

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An engine is the product as an administrator installs it: init, then serve.
type engine struct {
	bin, data string
	URL       string // https://localhost:PORT: passkeys want a name
	listen    string // host:port
	Operator  string
	Password  string
}

// startEngine starts an engine with its defaults, but for ports and the link.
func startEngine(t *testing.T) engine {
	t.Helper()
	e := engine{bin: buildBorealis(t), data: filepath.Join(t.TempDir(), "root")}
	var made struct{ Operator, Password string }
	e.run(t, &made, "init", "--json")
	e.Operator, e.Password = made.Operator, made.Password
	c := exec.Command(e.bin, "serve", "--data", e.data, "--json", "--listen", "127.0.0.1:0", "--udp-port", "0", "--link", "netstack",
		"--host", "localhost", "--host", "127.0.0.1")
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		if err := c.Wait(); err != nil {
			t.Errorf("the engine ended with %v", err)
		}
	})
	var ready struct{ Listen string }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		t.Fatalf("serve said %q: %v", line, err)
	}
	e.listen = ready.Listen
	e.URL = "https://localhost:" + ready.Listen[strings.LastIndexByte(ready.Listen, ':')+1:]
	return e
}

// buildBorealis builds the program of this checkout.
func buildBorealis(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "borealis")
	build := exec.Command("go", "build", "-o", bin, "./cmd/borealis")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// run runs an administrator's command and reads the JSON object that it prints.
func (e engine) run(t *testing.T, into any, args ...string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := exec.Command(e.bin, append(args, "--data", e.data)...)
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, stderr.String())
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(stdout.Bytes(), into); err != nil {
		t.Fatalf("%v said %q: %v", args, stdout.String(), err)
	}
}

// enrol makes a device with facts of the caller's choice, as a hostile agent could.
func (e engine) enrol(t *testing.T, facts map[string]string, code ...string) (deviceID string) {
	t.Helper()
	var made struct{ Code string }
	e.run(t, &made, append([]string{"code", "new", "--json"}, code...)...)
	body := map[string]string{
		"secret": made.Code[strings.LastIndexByte(made.Code, '.')+1:], "hostname": "", "os": "", "os_version": "", "arch": "", "version": "", "machine": "",
	}
	for k, v := range facts {
		body[k] = v
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	const name = "enrol.borealis.internal"
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: name, Certificates: []tls.Certificate{selfSigned(t)}},
	}}
	answer, err := client.Post("https://"+e.listen+"/agent/enrol", "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		DeviceID string `json:"device_id"`
	}
	if err := json.Unmarshal(b, &said); err != nil || said.DeviceID == "" {
		t.Fatalf("enrol: %d %s", answer.StatusCode, b)
	}
	return said.DeviceID
}

// selfSigned is an agent's key with a certificate around it.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "agent"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}
