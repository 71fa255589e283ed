package gate_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"borealis/agent/gate"
	"borealis/tunnel/token"
)

// TestSetCutsWhatItCloses has flows of both protocols, to a port that is closed and to one
// that is not.
func TestSetCutsWhatItCloses(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	closing := serve(t, 0, func(c *net.TCPConn) { _, err := io.Copy(struct{ io.Writer }{c}, c); ended <- err })
	staying, closingUDP, stayingUDP := serve(t, 0, echo), serveUDP(t, 0, nil), serveUDP(t, 0, nil)
	left := []token.Port{port("tcp", staying), port("udp", stayingUDP)}
	all := append([]token.Port{port("tcp", closing), port("udp", closingUDP)}, left...)
	u := newTunnel(t, engineIP, all...)
	for round := range int64(3) {
		cut, kept := u.mustDial(t, "tcp", closing), u.mustDial(t, "tcp", staying)
		cutUDP, keptUDP := u.mustDial(t, "udp", closingUDP), u.mustDial(t, "udp", stayingUDP)
		for _, c := range []net.Conn{cut, kept} {
			if err := ping(c, soon); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if err := u.gate.Set(2*round+1, left); err != nil {
			t.Fatal(err)
		}
		if _, err := cut.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the TCP flow reads %v, want a reset", err)
		}
		if _, err := cutUDP.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the UDP flow reads %v, want a refusal", err)
		}
		t.Logf("both are cut after %v", time.Since(began))
		if err := <-ended; !isReset(err) {
			t.Errorf("the device reads %v, want a reset", err)
		}
		for protocol, n := range map[string]uint16{"tcp": closing, "udp": closingUDP} {
			if _, err := u.dial(t, protocol, n); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a new flow to the closed %d/%s: %v", n, protocol, err)
			}
		}
		for _, c := range []net.Conn{kept, keptUDP} {
			if err := ping(c, soon); err != nil {
				t.Errorf("a flow to an open port: %v", err)
			}
		}
		if err := u.gate.Set(2*round+2, all); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSetWantsHigherRevisions(t *testing.T) {
	t.Parallel()
	at := serve(t, 0, echo)
	allowed := []token.Port{port("tcp", at)}
	u := newTunnel(t, engineIP, allowed...)
	for _, c := range []struct {
		revision int64
		ports    []token.Port
		want     error
		open     bool
	}{
		{0, nil, gate.ErrStale, true},
		{0, allowed, nil, true},
		{-1, nil, gate.ErrStale, true},
		{5, nil, nil, false},
		{5, allowed, gate.ErrStale, false},
		{5, []token.Port{}, nil, false}, // the same again
		{4, allowed, gate.ErrStale, false},
		{6, allowed, nil, true},
		{5, nil, gate.ErrStale, true},
		{1 << 62, nil, nil, false},
	} {
		if err := u.gate.Set(c.revision, c.ports); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("set revision %d: %v, want %v", c.revision, err, c.want)
		}
		if _, err := u.dial(t, "tcp", at); (err == nil) != c.open {
			t.Errorf("after revision %d the port answers %v, want open %v", c.revision, err, c.open)
		}
	}
}

// TestSetIsFinal opens flows as fast as it can while the port is opened and closed. Nothing
// that was open before a close may work after it.
func TestSetIsFinal(t *testing.T) {
	t.Parallel()
	at := serve(t, 0, echo)
	allowed := []token.Port{port("tcp", at)}
	u := newTunnel(t, engineIP)
	for round := range int64(20) {
		if err := u.gate.Set(2*round+1, allowed); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var conns []net.Conn
		var dialling sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		first := make(chan struct{}, 4)
		for range 4 {
			dialling.Go(func() {
				for ctx.Err() == nil {
					c, err := u.engine.DialTCP(ctx, netip.AddrPortFrom(agentIP, at))
					if err != nil {
						continue
					}
					mu.Lock()
					conns = append(conns, c)
					mu.Unlock()
					select {
					case first <- struct{}{}:
					default:
					}
				}
			})
		}
		<-first
		if err := u.gate.Set(2*round+2, nil); err != nil {
			t.Fatal(err)
		}
		stop()
		dialling.Wait()
		for _, c := range conns {
			if err := ping(c, soon); err == nil || silent(err) {
				t.Errorf("round %d: a flow ends with %v", round, err)
			}
			c.Close()
		}
	}
}
