package gate_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"golang.org/x/sync/errgroup"
)

// half is what can end one direction.
type half interface{ CloseWrite() error }

func TestAllowedPortLeadsToTheDevice(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	at := serve(t, 0, echo)
	u := newTunnel(t, engineIP, port("tcp", at))
	c := u.mustDial(t, "tcp", at)
	sent := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(sent)
	var both errgroup.Group
	both.Go(func() error {
		if _, err := c.Write(sent); err != nil {
			return err
		}
		return c.(half).CloseWrite()
	})
	got, err := io.ReadAll(c)
	if err := both.Wait(); err != nil {
		t.Error(err)
	}
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("read %d bytes, %v; want the %d that were sent", len(got), err, size)
	}
	eventually(t, "the flow is over", func() bool { tcp, pending, _ := u.gate.Flows(); return tcp+pending == 0 })
}

// TestHalfClose lets each end finish first while the other still talks.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	engineFirst := serve(t, 0, func(c *net.TCPConn) {
		b, err := io.ReadAll(c)
		if _, err := c.Write(append(b, " and back"...)); err != nil {
			t.Error(err)
		}
		if err != nil {
			t.Error(err)
		}
	})
	heard := make(chan string, 1)
	deviceFirst := serve(t, 0, func(c *net.TCPConn) {
		if _, err := c.Write([]byte("there")); err != nil {
			t.Error(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
		b, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		heard <- string(b)
	})
	u := newTunnel(t, engineIP, port("tcp", engineFirst), port("tcp", deviceFirst))

	c := u.mustDial(t, "tcp", engineFirst)
	if _, err := c.Write([]byte("there")); err != nil {
		t.Fatal(err)
	}
	if err := c.(half).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || string(b) != "there and back" {
		t.Errorf("the engine ends first: read %q, %v", b, err)
	}
	c = u.mustDial(t, "tcp", deviceFirst)
	if b, err := io.ReadAll(c); err != nil || string(b) != "there" {
		t.Errorf("the device ends first: read %q, %v", b, err)
	}
	if _, err := c.Write([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got := <-heard; got != "still here" {
		t.Errorf("the device hears %q", got)
	}
}

// TestResetsPassThrough has each end abort.
func TestResetsPassThrough(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	listening := serve(t, 0, func(c *net.TCPConn) { _, err := io.Copy(struct{ io.Writer }{c}, c); ended <- err })
	aborting := serve(t, 0, func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.SetLinger(0)
		c.Close()
	})
	u := newTunnel(t, engineIP, port("tcp", listening), port("tcp", aborting))
	c := u.mustDial(t, "tcp", listening)
	if err := ping(c, soon); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ SetLinger(int) error }).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := <-ended; !isReset(err) {
		t.Errorf("the engine aborts, and the device reads %v", err)
	}
	if err := ping(u.mustDial(t, "tcp", aborting), soon); !isReset(err) {
		t.Errorf("the device aborts, and the engine reads %v", err)
	}
}
