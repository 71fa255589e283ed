package wg_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"borealis/tunnel/wg"
)

func TestNetstack(t *testing.T) { testBackend(t, wg.Netstack) }

func TestNetstackIsWhatWasAsked(t *testing.T) {
	i := open(t, wg.Netstack, "", engineIP)
	if i.Mode() != wg.Netstack || i.Name() != "borealis0" || i.ListenPort() == 0 || i.Reason() == "" {
		t.Errorf("mode %s, name %s, port %d, reason %q", i.Mode(), i.Name(), i.ListenPort(), i.Reason())
	}
	if link, err := net.InterfaceByName("borealis0"); err == nil {
		t.Errorf("the host knows the interface: %+v", link)
	}
}

// noise is an endless, reproducible stream of bytes.
func noise(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

func TestNetstackTransfer(t *testing.T) {
	const size = 64 << 20
	engine, agent := pair(t, wg.Netstack)
	at := serve(t, agent, agentIP, func(c net.Conn) {
		sum := sha256.New()
		_, err := io.Copy(sum, c)
		if err == nil {
			_, err = c.Write(sum.Sum(nil))
		}
		if err == nil {
			_, err = io.CopyN(c, noise(2), size)
		}
		if err != nil {
			t.Errorf("agent: %v", err)
		}
	})
	c := dial(t, engine, at)
	if err := c.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	sent := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(c, sent), noise(1), size); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	there := make([]byte, sha256.Size)
	if _, err := io.ReadFull(c, there); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(there, sent.Sum(nil)) {
		t.Error("what the agent received differs from what the engine sent")
	}
	back, want := sha256.New(), sha256.New()
	if _, err := io.CopyN(want, noise(2), size); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(back, c); n != size || err != nil {
		t.Errorf("received %d bytes, %v; want %d", n, err, size)
	}
	if !bytes.Equal(back.Sum(nil), want.Sum(nil)) {
		t.Error("what the engine received differs from what the agent sent")
	}
}

// returned sends noise to an echo and compares what comes back.
func returned(ctx context.Context, engine *wg.Interface, at netip.AddrPort, seed byte, size int64) error {
	c, err := engine.DialTCP(ctx, at)
	if err != nil {
		return err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return err
		}
	}
	var both errgroup.Group
	both.Go(func() error { _, err := io.CopyN(c, noise(seed), size); return err })
	got, want := sha256.New(), sha256.New()
	both.Go(func() error { _, err := io.CopyN(got, c, size); return err })
	_, _ = io.CopyN(want, noise(seed), size)
	if err := both.Wait(); err != nil {
		return err
	}
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		return fmt.Errorf("%v sent back something else", at)
	}
	return nil
}

// TestNetstackManyPeers moves data of several peers at once through one device.
func TestNetstackManyPeers(t *testing.T) {
	const size = 4 << 20
	engine := open(t, wg.Netstack, "engine0", engineIP)
	psk := newPSK(t)
	var transfers errgroup.Group
	for n := range 4 {
		agent := open(t, wg.Netstack, "agent0", addressOf(n))
		at := serve(t, agent, addressOf(n), echo)
		admit(t, engine, agent, addressOf(n), psk)
		call(t, agent, engine, psk)
		transfers.Go(func() error { return returned(within(t, 2*soon), engine, at, byte(n), size) })
	}
	if err := transfers.Wait(); err != nil {
		t.Error(err)
	}
}

func TestNetstackListenerErrors(t *testing.T) {
	engine := open(t, wg.Netstack, "engine0", engineIP)
	at := netip.AddrPortFrom(engineIP, 80)
	l, err := engine.ListenTCP(at)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.ListenTCP(at); err == nil {
		t.Error("a second listener took the same port")
	}
	if _, err := engine.ListenTCP(netip.AddrPortFrom(agentIP, 80)); err == nil {
		t.Error("a listener took another's address")
	}
	waiting := make(chan error)
	go func() { _, err := l.Accept(); waiting <- err }()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waiting; !errors.Is(err, net.ErrClosed) {
		t.Errorf("waiting accept: %v, want %v", err, net.ErrClosed)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v, want %v", err, net.ErrClosed)
	}
	if l, err = engine.ListenTCP(at); err != nil {
		t.Errorf("the port is not free after close: %v", err)
	} else {
		l.Close()
	}
}

func TestNetstackConnErrors(t *testing.T) {
	engine, agent := pair(t, wg.Netstack)
	c := dial(t, engine, serve(t, agent, agentIP, echo))
	if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if !silent(err) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("read past the deadline: %v", err)
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error)
	go func() { _, err := c.Read(make([]byte, 1)); waiting <- err }()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waiting; !errors.Is(err, net.ErrClosed) {
		t.Errorf("waiting read: %v, want %v", err, net.ErrClosed)
	}
	if _, err := c.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close: %v, want %v", err, net.ErrClosed)
	}
}

// TestNetstackCloseEndsAll closes an interface with everything in use.
func TestNetstackCloseEndsAll(t *testing.T) {
	engine, agent := pair(t, wg.Netstack)
	c := dial(t, engine, serve(t, agent, agentIP, echo))
	l, err := engine.ListenTCP(netip.AddrPortFrom(engineIP, 80))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan error)
	go func() { _, err := c.Read(make([]byte, 1)); ended <- err }()
	go func() { _, err := l.Accept(); ended <- err }()
	go func() {
		_, err := engine.DialTCP(within(t, soon), netip.AddrPortFrom(otherIP, 80))
		ended <- err
	}()
	if err := engine.Close(); err != nil {
		t.Error(err)
	}
	for range 3 {
		select {
		case err := <-ended:
			if err == nil || silent(err) {
				t.Errorf("ended with %v, want an error at once", err)
			}
		case <-within(t, soon).Done():
			t.Fatal("something still waits on the closed interface")
		}
	}
}

func TestNetstackCyclesLeaveNothing(t *testing.T) {
	goleak.VerifyNone(t)
	for range 20 {
		t.Run("cycle", func(t *testing.T) {
			engine, agent := pair(t, wg.Netstack)
			c := dial(t, engine, serve(t, agent, agentIP, echo))
			if err := ping(c, soon); err != nil {
				t.Error(err)
			}
		})
		goleak.VerifyNone(t)
	}
}

func BenchmarkNetstackEcho(b *testing.B) {
	engine, agent := pair(b, wg.Netstack)
	c := dial(b, engine, serve(b, agent, agentIP, echo))
	for b.Loop() {
		if err := ping(c, soon); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNetstackTransfer(b *testing.B) {
	const size = 1 << 20
	engine, agent := pair(b, wg.Netstack)
	c := dial(b, engine, serve(b, agent, agentIP, func(c net.Conn) {
		buf := make([]byte, size)
		for {
			if _, err := io.ReadFull(c, buf); err != nil {
				return
			}
			if _, err := c.Write(buf[:1]); err != nil {
				return
			}
		}
	}))
	b.SetBytes(size)
	data := make([]byte, size)
	for b.Loop() {
		if _, err := c.Write(data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNetstackConnect measures a whole connect, from two ends that do not know each other to
// the first byte back, on an engine that has a thousand other peers.
func BenchmarkNetstackConnect(b *testing.B) {
	engine, agent := open(b, wg.Netstack, "engine0", engineIP), open(b, wg.Netstack, "agent0", agentIP)
	for n := range 1000 {
		err := engine.AddPeer(wg.Peer{PublicKey: newKey(b).PublicKey(), PresharedKey: newPSK(b), AllowedIP: addressOf(n)})
		if err != nil {
			b.Fatal(err)
		}
	}
	at := serve(b, agent, agentIP, echo)
	for b.Loop() {
		psk := newPSK(b)
		admit(b, engine, agent, agentIP, psk)
		call(b, agent, engine, psk)
		if err := engine.Handshake(b.Context(), agent.PublicKey()); err != nil {
			b.Fatal(err)
		}
		c, err := engine.DialTCP(b.Context(), at)
		if err == nil {
			err = ping(c, soon)
		}
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
		if err := engine.RemovePeer(agent.PublicKey()); err != nil {
			b.Fatal(err)
		}
	}
}
