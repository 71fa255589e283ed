package gate_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/agent/gate"
	"borealis/agent/wire"
	"borealis/tunnel/token"
	"borealis/tunnel/wg"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// host is a host whose filter writes down what it is told. Its tunnel is the loopback.
type host struct {
	t        *testing.T
	gate     *gate.Gate
	listener net.Listener

	mu     sync.Mutex
	told   [][]wg.Allowed
	before func() // Called before the filter is told.
	err    error  // Of the filter.
}

func newHost(t *testing.T, engine netip.Addr, ports ...token.Port) *host {
	t.Helper()
	h := &host{t: t, gate: gate.New(gate.Config{Engine: engine, Ports: ports})}
	t.Cleanup(h.gate.Close)
	return h
}

// guard puts the gate up.
func (h *host) guard() error {
	return h.gate.GuardHost(h.allow, func() (net.Listener, error) {
		var config net.ListenConfig
		var err error
		h.listener, err = config.Listen(h.t.Context(), "tcp4", "127.0.0.1:0")
		return h.listener, err
	})
}

func (h *host) mustGuard() {
	h.t.Helper()
	if err := h.guard(); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) allow(_ netip.Addr, ports []wg.Allowed) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.before != nil {
		h.before()
	}
	if h.err != nil {
		return h.err
	}
	h.told = append(h.told, ports)
	return nil
}

// fail makes the filter fail, or work again.
func (h *host) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
}

// expect compares all that the filter was told.
func (h *host) expect(want ...[]wg.Allowed) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if diff := cmp.Diff(want, h.told); diff != "" {
		h.t.Errorf("the filter was told (-want +got)\n%s", diff)
	}
}

// dial connects to the shell's port.
func (h *host) dial() (net.Conn, error) {
	h.t.Helper()
	var dialer net.Dialer
	c, err := dialer.DialContext(within(h.t, soon), "tcp4", h.listener.Addr().String())
	if err == nil {
		h.t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// expectRefused connects to the shell's port and is reset, sooner or later.
func (h *host) expectRefused() {
	h.t.Helper()
	if c, err := h.dial(); err == nil {
		h.expectClosed(c)
	} else if !isReset(err) {
		h.t.Error(err)
	}
}

// expectClosed reads until the other end has closed or reset a connection.
func (h *host) expectClosed(c net.Conn) {
	h.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(soon)); err != nil {
		h.t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, c); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		h.t.Errorf("%d bytes came, then %v", n, err)
	}
}

var (
	shellPort = token.Port{Protocol: "tcp", From: wire.ShellPort, To: wire.ShellPort}
	rdpPorts  = token.Port{Protocol: "udp", From: 3389, To: 3390}

	allowedShell = wg.Allowed{Protocol: "tcp", From: wire.ShellPort, To: wire.ShellPort}
	allowedRDP   = wg.Allowed{Protocol: "udp", From: 3389, To: 3390}
)

// TestHostShell reaches the shell, until its port is allowed no more.
func TestHostShell(t *testing.T) {
	t.Parallel()
	h := newHost(t, loopback, shellPort)
	h.mustGuard()
	c, err := h.dial()
	if err != nil {
		t.Fatal(err)
	}
	served, err := h.gate.Shell().Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(served, got); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}

	h.before = func() { // The reset gets out only before the filter knows.
		if _, err := served.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the shell is open when the filter is told: %v", err)
		}
	}
	if err := h.gate.Set(1, []token.Port{rdpPorts}); err != nil {
		t.Fatal(err)
	}
	h.before = nil
	h.expectClosed(c)
	h.expectRefused() // The filter would let nobody through; the gate neither.
	h.expect([]wg.Allowed{allowedShell}, []wg.Allowed{allowedRDP})
}

// TestHostRefusesOthers lets nobody but the engine to the shell.
func TestHostRefusesOthers(t *testing.T) {
	t.Parallel()
	h := newHost(t, engineIP, shellPort)
	h.mustGuard()
	h.expectRefused()
}

// TestHostSet tells the filter of each revision once, again after it failed, and never of an old one.
func TestHostSet(t *testing.T) {
	t.Parallel()
	h := newHost(t, loopback)
	h.mustGuard()
	set := func(revision int64, want error, ports ...token.Port) {
		t.Helper()
		if err := h.gate.Set(revision, ports); !errors.Is(err, want) {
			t.Errorf("revision %d: got %v, want %v", revision, err, want)
		}
	}
	set(2, nil, rdpPorts)
	set(1, gate.ErrStale, shellPort)
	broken := errors.New("broken")
	h.fail(broken)
	set(3, broken, shellPort)
	h.fail(nil)
	set(3, nil, shellPort)
	h.gate.Close()
	h.expect([]wg.Allowed{}, []wg.Allowed{allowedRDP}, []wg.Allowed{allowedShell}, []wg.Allowed{})
	if _, err := h.listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener after the gate: %v", err)
	}
}

// TestHostGuardFails leaves nothing open.
func TestHostGuardFails(t *testing.T) {
	t.Parallel()
	h := newHost(t, loopback, shellPort)
	broken := errors.New("broken")
	h.fail(broken)
	if err := h.guard(); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	if _, err := h.listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
	h.fail(nil)
	if err := h.gate.Set(1, []token.Port{shellPort}); err != nil {
		t.Error(err)
	}
	h.gate.Close()
	h.expect()
	if err := h.guard(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("guard after the end: %v", err)
	}
	h.expect([]wg.Allowed{allowedShell}, []wg.Allowed{})
}

// TestHostNoListener fails when the shell's port is taken.
func TestHostNoListener(t *testing.T) {
	t.Parallel()
	h := newHost(t, loopback, shellPort)
	taken := errors.New("taken")
	if err := h.gate.GuardHost(h.allow, func() (net.Listener, error) { return nil, taken }); !errors.Is(err, taken) {
		t.Errorf("got %v, want %v", err, taken)
	}
	h.expect()
}

// TestHostAcceptFails goes on after errors of the listener.
func TestHostAcceptFails(t *testing.T) {
	t.Parallel()
	h := newHost(t, loopback, shellPort)
	failing := &failingListener{fails: 2}
	err := h.gate.GuardHost(h.allow, func() (net.Listener, error) {
		var config net.ListenConfig
		l, err := config.Listen(t.Context(), "tcp4", "127.0.0.1:0")
		failing.Listener, h.listener = l, l
		return failing, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.dial(); err != nil {
		t.Fatal(err)
	}
	served, err := h.gate.Shell().Accept()
	if err != nil {
		t.Fatal(err)
	}
	served.Close()
}

// failingListener fails some times before it accepts.
type failingListener struct {
	net.Listener
	fails int
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.fails--; l.fails >= 0 {
		return nil, errors.New("no memory")
	}
	return l.Listener.Accept()
}
