//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"borealis/agent"
	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// fewFiles is how many file descriptors the engine of TestFewFiles may have: 350 are for operators,
// which is the half.
const fewFiles = 700

// TestFewFiles: agents, and strangers who say nothing, come until the engine has hardly a file
// descriptor left. An operator still signs in.
func TestFewFiles(t *testing.T) {
	e := startFew(t)
	_, code, _ := call(t, "code", "new", "--data", e.data, "--auto-approve")
	mine := t.TempDir()
	if _, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: mine, Code: strings.TrimSpace(code)}); err != nil {
		t.Fatal(err)
	}
	identity, err := keys.OpenAgentIdentity(filepath.Join(mine, "Agent", "Borealis", "Certificates", "VPN_Client"), "agent")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	agents := 0
	var refused error
	for ; agents < fewFiles; agents++ {
		var conn net.Conn
		if conn, refused = e.agentConnection(t, identity); refused != nil {
			break
		}
		conns = append(conns, conn)
	}
	if agents < 250 || agents > fewFiles/2 {
		t.Errorf("%d agents found room, then %v\n%s", agents, refused, e.log())
	}
	signedIn := func(when string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := newClient(t, e.URL, "")
		c.signIn(ctx, "admin", e.password)
		if code := c.do(ctx, "GET", "/api/devices", nil, nil); code != 200 {
			t.Errorf("%s: the devices are answered with %d", when, code)
		}
	}
	signedIn("with as many agents as there can be")
	for i := range fewFiles + 100 { // more than the engine could hold
		dialer := &net.Dialer{Timeout: time.Minute, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i%20+1))}}
		conn, err := dialer.DialContext(t.Context(), "tcp", e.Listen)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	signedIn("with strangers at the door too")
	e.stop()
	if n := strings.Count(e.log(), "msg=agents_refused"); n != 1 {
		t.Errorf("after %d agents and %v the log has %d lines about it:\n%s", agents, refused, n, e.log())
	}
}

// A few is an engine with few file descriptors, in a process of its own.
type few struct {
	ready

	data, password string
	text           *safeBuffer
	stop           func() // and waits until it has ended
}

func (f *few) log() string { return f.text.String() }

// startFew starts the engine, whose limit it is told to be as low for good.
func startFew(t *testing.T) *few {
	t.Helper()
	f := &few{data: filepath.Join(t.TempDir(), "root"), text: new(safeBuffer)}
	var made struct{ Password string }
	if err := json.Unmarshal([]byte(must(t, "init", "--json", "--data", f.data)), &made); err != nil {
		t.Fatal(err)
	}
	f.password = made.Password
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	engine := exec.CommandContext(context.WithoutCancel(t.Context()), "/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, fewFiles), self,
		"serve", "--json", "--data", f.data, "--listen", "127.0.0.1:0", "--udp-port", "0", "--link", "netstack")
	engine.Env = append(os.Environ(), doomedAs+"=engine")
	engine.Stderr = f.text
	out, err := engine.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Start(); err != nil {
		t.Fatal(err)
	}
	f.stop = sync.OnceFunc(func() {
		_ = engine.Process.Signal(syscall.SIGTERM)
		if err := engine.Wait(); err != nil {
			t.Errorf("the engine: %v\n%s", err, f.log())
		}
	})
	t.Cleanup(f.stop)
	if err := json.NewDecoder(out).Decode(&f.ready); err != nil {
		t.Fatalf("%v\n%s", err, f.log())
	}
	return f
}

// agentConnection is one of an agent that has proven its key.
func (f *few) agentConnection(t *testing.T, identity *keys.Identity) (net.Conn, error) {
	t.Helper()
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 30 * time.Second}, Config: &tls.Config{
		ServerName: wire.ServerName, InsecureSkipVerify: true, Certificates: []tls.Certificate{identity.TLS()}, MinVersion: tls.VersionTLS13,
	}}
	conn, err := dialer.DialContext(t.Context(), "tcp", f.Listen)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Write([]byte("GET /nothing HTTP/1.1\r\nHost: engine\r\n\r\n"))
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// A safeBuffer is a buffer for two.
type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
