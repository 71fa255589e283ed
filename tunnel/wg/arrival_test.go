package wg_test

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

	"go.uber.org/goleak"

	"borealis/tunnel/wg"
)

const (
	openPort   = 4000 // what the tests accept
	closedPort = 4001 // what they refuse
)

// receive accepts what arrives for openPort until the test ends, and hands it to handle, which need
// not close it. It refuses everything else.
func receive(t testing.TB, i *wg.Interface, handle func(net.Conn)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	answer := func(a *wg.Arrival) {
		if a.To.Port() != openPort {
			return // which refuses it
		}
		c, err := a.Accept(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("accept %s: %v", a.From, err)
			}
			return
		}
		work.Go(func() {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			handle(c)
		})
	}
	if err := i.Receive(wg.Arrivals{TCP: answer, UDP: answer}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Receive(wg.Arrivals{}); err != nil {
			t.Error(err)
		}
		cancel()
		work.Wait()
	})
}

// arrival is one to be answered by whoever takes it, who then closes answered.
type arrival struct {
	*wg.Arrival
	answered chan struct{}
}

// arrivals puts the TCP that arrives into a channel.
func arrivals(t testing.TB, i *wg.Interface) <-chan arrival {
	t.Helper()
	come := make(chan arrival)
	err := i.Receive(wg.Arrivals{TCP: func(a *wg.Arrival) {
		next := arrival{a, make(chan struct{})}
		come <- next
		<-next.answered
	}})
	if err != nil {
		t.Fatal(err)
	}
	return come
}

// at is a port of the agent.
func at(port uint16) netip.AddrPort { return netip.AddrPortFrom(agentIP, port) }

func TestArrivals(t *testing.T) {
	engine, agent := pair(t, wg.Netstack)
	come := arrivals(t, agent)
	for _, c := range []struct {
		name   string
		answer func(*wg.Arrival)
		want   error // of the dial
	}{
		{"refused", (*wg.Arrival).Refuse, syscall.ECONNREFUSED},
		{"refused twice", func(a *wg.Arrival) { a.Refuse(); a.Refuse() }, syscall.ECONNREFUSED},
		{"not answered", func(*wg.Arrival) {}, syscall.ECONNREFUSED},
		{"accepted", func(a *wg.Arrival) {
			c, err := a.Accept(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if got := c.RemoteAddr().(*net.TCPAddr).AddrPort(); got != a.From {
				t.Errorf("remote address %s, want %s", got, a.From)
			}
			if _, err := a.Accept(t.Context()); !errors.Is(err, net.ErrClosed) {
				t.Errorf("accepted twice: %v", err)
			}
			echo(c)
		}, nil},
		{"accepted after it was refused", func(a *wg.Arrival) {
			a.Refuse()
			if _, err := a.Accept(t.Context()); !errors.Is(err, net.ErrClosed) {
				t.Errorf("accepted after a refusal: %v", err)
			}
		}, syscall.ECONNREFUSED},
	} {
		var answering sync.WaitGroup
		answering.Go(func() {
			a := <-come
			defer close(a.answered)
			if a.From.Addr() != engineIP || a.To != at(openPort) {
				t.Errorf("%s: from %s to %s", c.name, a.From, a.To)
			}
			c.answer(a.Arrival)
		})
		conn, err := engine.DialTCP(within(t, soon), at(openPort))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err == nil {
			if err := ping(conn, soon); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			conn.Close()
		}
		answering.Wait()
	}
}

// TestArrivalHalfCloses ends each direction by itself.
func TestArrivalHalfCloses(t *testing.T) {
	engine, agent := pair(t, wg.Netstack)
	receive(t, agent, func(c net.Conn) {
		got, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("agent: %v", err)
		}
		if _, err := c.Write(append([]byte("after "), got...)); err != nil {
			t.Errorf("agent: %v", err)
		}
	})
	c := dial(t, engine, at(openPort))
	if _, err := c.Write([]byte("all of it")); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "after all of it" {
		t.Errorf("read %q, %v", got, err)
	}
}

// TestArrivalResets refuses what was accepted, from another goroutine, while both ends are busy.
func TestArrivalResets(t *testing.T) {
	engine, agent := pair(t, wg.Netstack)
	come := arrivals(t, agent)
	var answering sync.WaitGroup
	var here net.Conn
	var a arrival
	answering.Go(func() {
		a = <-come
		var err error
		if here, err = a.Accept(t.Context()); err != nil {
			t.Error(err)
		}
	})
	there := dial(t, engine, at(openPort))
	answering.Wait()
	defer close(a.answered)
	read, written := make(chan error, 1), make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, here); read <- err }()
	go func() { _, err := io.Copy(there, noise(1)); written <- err }()
	a.Refuse()
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("this end reads %v, want %v", err, net.ErrClosed)
	}
	if err := <-written; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the other end writes %v, want a reset", err)
	}
	a.Refuse() // again, and it is long gone
}

// TestArrivalThatNeverCompletes accepts for somebody who is gone.
func TestArrivalThatNeverCompletes(t *testing.T) {
	for name, giveUp := range map[string]func(a *wg.Arrival, agent *wg.Interface, cancel func()){
		"the context ends":     func(_ *wg.Arrival, _ *wg.Interface, cancel func()) { cancel() },
		"refused":              func(a *wg.Arrival, _ *wg.Interface, _ func()) { a.Refuse() },
		"the interface closes": func(_ *wg.Arrival, agent *wg.Interface, _ func()) { agent.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			engine, agent := pair(t, wg.Netstack)
			come := arrivals(t, agent)
			dialled := make(chan error, 1)
			dialling, stop := context.WithCancel(t.Context())
			go func() { _, err := engine.DialTCP(dialling, at(openPort)); dialled <- err }()
			a := <-come
			if err := agent.RemovePeer(engine.PublicKey()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			accepted := make(chan error, 1)
			go func() { _, err := a.Accept(ctx); accepted <- err }()
			giveUp(a.Arrival, agent, cancel)
			select {
			case err := <-accepted:
				if err == nil {
					t.Error("accepted")
				}
			case <-within(t, 5*time.Second).Done(): // half of what it has by itself
				t.Error("it is still waited for")
			}
			cancel()
			close(a.answered)
			stop()
			<-dialled
		})
	}
	goleak.VerifyNone(t)
}

// TestArrivalRefusedWhileItCompletes refuses at the very moment at which the handshake is to end.
func TestArrivalRefusedWhileItCompletes(t *testing.T) {
	engine, agent := pair(t, wg.Netstack)
	come := arrivals(t, agent)
	for range 3000 {
		asked, accepted := make(chan *wg.Arrival, 1), make(chan net.Conn, 1)
		go func() {
			a := <-come
			defer close(a.answered)
			asked <- a.Arrival
			c, _ := a.Accept(t.Context()) // an error is what often comes of it
			accepted <- c
		}()
		// The other end has an answer to its SYN; whether this end has one too is a matter of luck.
		there := dial(t, engine, at(openPort))
		(<-asked).Refuse()
		if err := ping(there, soon); err == nil || silent(err) {
			t.Errorf("it was refused, and ends with %v", err)
		}
		if here := <-accepted; here != nil {
			if _, err := here.Read(make([]byte, 1)); err == nil {
				t.Error("it was refused, and it is read from")
			}
			here.Close()
		}
		there.Close()
	}
}

// TestListenerComesFirst has a listener and a handler on the same port.
func TestListenerComesFirst(t *testing.T) {
	engine, agent := pair(t, wg.Netstack)
	to := serve(t, agent, agentIP, echo)
	err := agent.Receive(wg.Arrivals{TCP: func(a *wg.Arrival) { t.Errorf("somebody arrives at %s", a.To) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := ping(dial(t, engine, to), soon); err != nil {
		t.Error(err)
	}
}

// TestLingerResets closes without and with it.
func TestLingerResets(t *testing.T) {
	engine, agent := pair(t, wg.Netstack)
	ended := make(chan error, 1)
	receive(t, agent, func(c net.Conn) { _, err := io.Copy(c, c); ended <- err })
	for seconds, want := range map[int]error{-1: nil, 0: syscall.ECONNRESET} {
		c := dial(t, engine, at(openPort))
		if err := c.(interface{ SetLinger(int) error }).SetLinger(seconds); err != nil {
			t.Fatal(err)
		}
		if err := ping(c, soon); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if err := <-ended; !errors.Is(err, want) {
			t.Errorf("after SetLinger(%d) the other end reads %v, want %v", seconds, err, want)
		}
	}
}

func testReceiveIsForNetstack(t *testing.T, mode wg.Mode) {
	i := open(t, mode, "engine0", engineIP)
	err := i.Receive(wg.Arrivals{})
	if mode == wg.Netstack && err != nil || mode != wg.Netstack && !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("mode %s: %v", mode, err)
	}
	if err := i.Allow(agentIP, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("allow in mode %s: %v", mode, err)
	}
}
