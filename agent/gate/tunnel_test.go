package gate_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/agent/gate"
	"borealis/tunnel/token"
	"borealis/tunnel/wg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	engineIP = netip.MustParseAddr("10.255.0.1")
	agentIP  = netip.MustParseAddr("10.255.1.10")
	otherIP  = netip.MustParseAddr("10.255.1.11")
)

const (
	soon  = 20 * time.Second       // for what must happen
	never = 300 * time.Millisecond // for what must not
)

// tunnel is an engine and an agent with a gate, joined.
type tunnel struct {
	engine, agent *wg.Interface
	gate          *gate.Gate
	log           *journal
}

// newTunnel joins an engine to an agent whose gate has ports, for the engine at from.
func newTunnel(t testing.TB, from netip.Addr, ports ...token.Port) *tunnel {
	t.Helper()
	u := &tunnel{engine: open(t, engineIP), agent: open(t, agentIP), log: new(journal)}
	u.gate = gate.New(gate.Config{Engine: from, Ports: ports, Logger: slog.New(slog.NewTextHandler(u.log, nil))})
	t.Cleanup(u.gate.Close)
	if err := u.gate.Guard(u.agent); err != nil {
		t.Fatal(err)
	}
	psk, err := wgtypes.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	err = u.engine.AddPeer(wg.Peer{PublicKey: u.agent.PublicKey(), PresharedKey: psk, AllowedIP: agentIP})
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(u.engine.ListenPort()))
	err = u.agent.AddPeer(wg.Peer{PublicKey: u.engine.PublicKey(), PresharedKey: psk, AllowedIP: engineIP, Endpoint: at, Keepalive: 25 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.engine.Handshake(within(t, soon), u.agent.PublicKey()); err != nil {
		t.Fatal(err)
	}
	return u
}

// open opens an interface and closes it after the test.
func open(t testing.TB, address netip.Addr) *wg.Interface {
	t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	i, err := wg.Open(t.Context(), wg.Config{Mode: wg.Netstack, PrivateKey: key, Address: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// within returns a context that ends after d, or with the test.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// dial connects the engine to a port of the agent, or returns why not. UDP is dialled
// when it has answered.
func (u *tunnel) dial(t testing.TB, protocol string, port uint16) (net.Conn, error) {
	t.Helper()
	to := netip.AddrPortFrom(agentIP, port)
	if protocol == "tcp" {
		c, err := u.engine.DialTCP(within(t, soon), to)
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return c, err
	}
	c, err := u.engine.DialUDP(within(t, soon), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, ping(c, soon)
}

// mustDial is dial of what must be open.
func (u *tunnel) mustDial(t testing.TB, protocol string, port uint16) net.Conn {
	t.Helper()
	c, err := u.dial(t, protocol, port)
	if err != nil {
		t.Fatalf("dial %d/%s: %v", port, protocol, err)
	}
	return c
}

// ping sends one byte to an echo and waits for it at most d.
func ping(c net.Conn, d time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	if _, err := c.Write([]byte{42}); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

// silent reports whether an error says that an answer did not come in time.
func silent(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	limit := within(t, soon)
	for !holds() {
		select {
		case <-limit.Done():
			t.Fatalf("never: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// port is one that is allowed.
func port(protocol string, n uint16) token.Port {
	return token.Port{Protocol: protocol, From: n, To: n}
}

// serve listens on a port of the device, any free one if it is 0, and hands every
// connection to handle, which need not close it.
func serve(t testing.TB, n uint16, handle func(*net.TCPConn)) uint16 {
	t.Helper()
	l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), n)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })()
				handle(c)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		work.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// echo sends back what comes, and then the end.
func echo(c *net.TCPConn) { _, _ = io.Copy(struct{ io.Writer }{c}, c) }

// serveUDP echoes datagrams on a port of the device, any free one if it is 0. It puts
// where they came from into seen.
func serveUDP(t testing.TB, n uint16, seen chan<- netip.AddrPort) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), n)))
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		datagram := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFromUDPAddrPort(datagram)
			if err != nil {
				return
			}
			if seen != nil {
				seen <- from
			}
			if _, err := c.WriteToUDPAddrPort(datagram[:n], from); err != nil {
				t.Error(err)
			}
		}
	})
	t.Cleanup(func() { c.Close(); work.Wait() })
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// journal is a log to be looked at.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// lines returns the lines that hold all the words.
func (j *journal) lines(words ...string) (found []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
next:
	for line := range strings.Lines(j.text.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}
