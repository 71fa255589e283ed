package wg_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/tunnel/wg"
)

var (
	engineIP = netip.MustParseAddr("10.255.0.1")
	agentIP  = netip.MustParseAddr("10.255.1.10")
	otherIP  = netip.MustParseAddr("10.255.1.11")
	pool     = netip.MustParsePrefix("10.255.0.0/16")
)

const (
	soon  = 30 * time.Second       // for what must happen
	never = 300 * time.Millisecond // for what must not
)

// newKey returns a fresh private key.
func newKey(t testing.TB) wgtypes.Key {
	t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newPSK returns a fresh preshared key.
func newPSK(t testing.TB) wgtypes.Key {
	t.Helper()
	key, err := wgtypes.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// open opens an interface and closes it after the test.
func open(t testing.TB, mode wg.Mode, name string, address netip.Addr) *wg.Interface {
	t.Helper()
	c := wg.Config{Mode: mode, Name: name, PrivateKey: newKey(t), Address: address}
	if mode != wg.Netstack {
		c.Route = pool
	}
	i, err := wg.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Errorf("close %s: %v", name, err)
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

// endpointOf is where an interface on this machine listens.
func endpointOf(i *wg.Interface) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(i.ListenPort()))
}

// admit adds agent to engine, as the engine does it.
func admit(t testing.TB, engine, agent *wg.Interface, ip netip.Addr, psk wgtypes.Key) {
	t.Helper()
	err := engine.AddPeer(wg.Peer{PublicKey: agent.PublicKey(), PresharedKey: psk, AllowedIP: ip})
	if err != nil {
		t.Fatal(err)
	}
}

// call adds engine to agent, as the agent does it, which starts the handshake.
func call(t testing.TB, agent, engine *wg.Interface, psk wgtypes.Key) {
	t.Helper()
	callAt(t, agent, engine, endpointOf(engine), psk)
}

// callAt is call with another way to the engine.
func callAt(t testing.TB, agent, engine *wg.Interface, way netip.AddrPort, psk wgtypes.Key) {
	t.Helper()
	err := agent.AddPeer(wg.Peer{
		PublicKey: engine.PublicKey(), PresharedKey: psk, AllowedIP: engineIP,
		Endpoint: way, Keepalive: 25 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// pair opens an engine of the given mode and a netstack agent, and joins the two.
func pair(t testing.TB, mode wg.Mode) (engine, agent *wg.Interface) {
	t.Helper()
	engine, agent = open(t, mode, "engine0", engineIP), open(t, wg.Netstack, "agent0", agentIP)
	psk := newPSK(t)
	admit(t, engine, agent, agentIP, psk)
	call(t, agent, engine, psk)
	for _, h := range []struct{ here, there *wg.Interface }{{engine, agent}, {agent, engine}} {
		if err := h.here.Handshake(within(t, soon), h.there.PublicKey()); err != nil {
			t.Fatal(err)
		}
	}
	return engine, agent
}

// serve listens on a port inside the tunnel and hands every connection to handle, which need not
// close it. Everything has ended when the test has.
func serve(t testing.TB, i *wg.Interface, ip netip.Addr, handle func(net.Conn)) netip.AddrPort {
	t.Helper()
	at := netip.AddrPortFrom(ip, 0)
	l, err := i.ListenTCP(at)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				t.Errorf("accept: %v", err)
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
	return netip.AddrPortFrom(ip, l.Addr().(*net.TCPAddr).AddrPort().Port())
}

// echo sends back what comes.
func echo(c net.Conn) { _, _ = io.Copy(c, c) }

// dial connects or fails the test.
func dial(t testing.TB, i *wg.Interface, to netip.AddrPort) net.Conn {
	t.Helper()
	c, err := i.DialTCP(within(t, soon), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
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
