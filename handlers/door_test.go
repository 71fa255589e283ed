package handlers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"borealis/handlers/access"
)

// strangerFrom is a client that is not signed in and comes from an address of this host.
func (r *rig) strangerFrom(address string) *client {
	r.t.Helper()
	c := r.stranger()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	c.http.Transport.(*http.Transport).DialContext = dialer.DialContext
	return c
}

// TestHalfOpenFlood holds thousands of connections open that never say anything. It runs
// alone, because it counts goroutines.
func TestHalfOpenFlood(t *testing.T) {
	const wanted = 5000
	total := wanted
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if room := int(min(limit.Cur, 1<<20)) - maxHalfOpen - 500; room < total {
		if total = room; total < maxHalfOpen+50 {
			t.Skipf("%d open files are not enough", limit.Cur)
		}
	}
	r := newRig(t)
	r.person("carol")
	device := r.realAgent()
	ann := r.browser("ann", access.Operator)
	screen := ann.shell(device, "ann")
	before, online := r.manager.Online(device)
	if !online {
		t.Fatal("the agent is not there")
	}
	baseline := runtime.NumGoroutine()

	conns := make([]net.Conn, total)
	var work sync.WaitGroup
	for part := range 10 {
		dialer := &net.Dialer{Timeout: testTimeout, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(part+1))}}
		work.Go(func() {
			for i := part; i < total; i += 10 {
				conn, err := dialer.DialContext(t.Context(), "tcp", r.address)
				if err != nil {
					t.Errorf("dial: %v", err)
					return
				}
				conns[i] = conn
			}
		})
	}
	work.Wait()
	held, most := r.door.count()
	t.Logf("%d connections, of which %d are held, %d of one source", total, held, most)
	if held > maxHalfOpen || held < earlyHalfOpen || most > maxSourceHalfOpen {
		t.Errorf("%d connections are held, %d of one source", held, most)
	}

	screen.answers("flooded")
	carol := r.strangerFrom("127.0.2.1")
	if a := carol.post("/login", signInForm("carol", testPassword, "/devices")); a.StatusCode != http.StatusSeeOther {
		t.Errorf("signing in from another address: %d %s", a.StatusCode, a.body)
	}
	if now, online := r.manager.Online(device); !online || !now.Since.Equal(before.Since) {
		t.Error("the agent lost its connection")
	}

	for _, conn := range conns {
		if conn != nil {
			conn.Close()
		}
	}
	carol.http.CloseIdleConnections()
	tick := time.NewTicker(20 * time.Millisecond) // nobody tells when a goroutine ends
	defer tick.Stop()
	ctx := r.context()
	for {
		held, _ := r.door.count()
		if held == 0 && runtime.NumGoroutine() <= baseline+2 { // the client's own come and go
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d connections are held, %d goroutines run, %d before", held, runtime.NumGoroutine(), baseline)
		}
	}
	screen.answers("calm")
}

// count is how many connections wait, and how many of one source at most.
func (d *door) count() (waiting, most int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.sources {
		most = max(most, n)
	}
	return d.waiting.Len(), most
}

// A fakeConn is a connection from an address.
type fakeConn struct {
	net.Conn

	from   string
	closed bool
}

func (c *fakeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.from))
}
func (c *fakeConn) Close() error { c.closed = true; return nil }

func TestDoor(t *testing.T) {
	t.Parallel()
	d := door{log: slog.New(slog.DiscardHandler)}
	enter := func(from string) (*visitor, *fakeConn) {
		conn := &fakeConn{from: from}
		v := d.enter(conn)
		if v != nil {
			t.Cleanup(v.known)
		}
		return v, conn
	}
	// One source, which is a whole IPv6 network.
	var all []*visitor
	for i := range maxSourceHalfOpen {
		v, _ := enter(fmt.Sprintf("[2001:db8::%x]:1", i))
		if v == nil {
			t.Fatalf("connection %d is refused", i)
		}
		all = append(all, v)
	}
	if v, _ := enter("[2001:db8::ffff]:1"); v != nil {
		t.Error("a source may have any number of connections")
	}
	if v, _ := enter("[2001:db8:0:1::1]:1"); v == nil {
		t.Error("a neighbour is refused")
	}
	all[0].asks()
	if v, _ := enter("[2001:db8::ffff]:1"); v == nil {
		t.Error("a connection that has made a request still counts")
	}
	all[1].Close()
	if v, _ := enter("[2001:db8::ffff]:1"); v == nil {
		t.Error("a connection that was closed still counts")
	}

	// Many sources: busy ones are dropped more and more often, and others never.
	for i := 0; ; i++ {
		enter(fmt.Sprintf("10.0.0.%d:1", i%32))
		if n, _ := d.count(); n >= (earlyHalfOpen+maxHalfOpen)/2 {
			break
		}
	}
	refused := 0
	for range 1000 {
		v, _ := enter("10.0.0.1:1")
		if v == nil {
			refused++
		} else {
			v.known()
		}
	}
	if refused < 550 || refused > 750 { // 65 of 100, far beyond six sigma
		t.Errorf("%d of 1000 are dropped half way", refused)
	}
	for i := range 1000 {
		if v, _ := enter(fmt.Sprintf("10.1.%d.%d:1", i/250, i%250)); v == nil {
			t.Fatal("one who comes alone is dropped")
		}
	}
	if n, _ := d.count(); n > maxHalfOpen {
		t.Errorf("%d connections wait", n)
	}
}

// TestDoorEvicts: when it is full of ones that came alone, the oldest makes room.
func TestDoorEvicts(t *testing.T) {
	t.Parallel()
	d := door{log: slog.New(slog.DiscardHandler)}
	oldest := &fakeConn{from: "10.0.0.1:1"}
	d.enter(oldest)
	for i := range maxHalfOpen {
		if oldest.closed {
			t.Fatalf("closed at %d", i)
		}
		if v := d.enter(&fakeConn{from: fmt.Sprintf("10.1.%d.%d:1", i/250, i%250)}); v != nil {
			t.Cleanup(v.known)
		}
	}
	if n, _ := d.count(); n != maxHalfOpen || !oldest.closed {
		t.Errorf("%d wait, the oldest is closed: %v", n, oldest.closed)
	}

	// Strangers that have asked for something: the idlest one goes.
	first, second := &fakeConn{from: "10.9.0.1:1"}, &fakeConn{from: "10.9.0.2:1"}
	a, b := d.enter(first), d.enter(second)
	a.asks()
	b.asks()
	a.asks() // again, so that the other one is the idlest
	for i := range maxStrangers - 1 {
		v := d.enter(&fakeConn{from: fmt.Sprintf("10.2.%d.%d:1", i/250, i%250)})
		v.asks()
		t.Cleanup(v.known)
	}
	if !second.closed || first.closed || d.strangers.Len() != maxStrangers {
		t.Errorf("%v %v %d", first.closed, second.closed, d.strangers.Len())
	}
	a.known()
	if d.strangers.Len() != maxStrangers-1 {
		t.Error("somebody who is known is a stranger")
	}
	a.asks()
	if d.strangers.Len() != maxStrangers-1 {
		t.Error("somebody who is known becomes a stranger")
	}
}

// TestDoorOverHTTP: connections count until their first request, and as strangers until
// one of them shows who makes it, over both versions of HTTP.
func TestDoorOverHTTP(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.browser("ann", access.Viewer)
	for _, protocols := range [][]string{{"http/1.1"}, {"h2"}} {
		conn, err := tls.Dial("tcp", r.address, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: protocols})
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{
			DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
				if conn == nil {
					return nil, errors.New("there was one connection")
				}
				one := conn
				conn = nil
				return one, nil
			},
			ForceAttemptHTTP2: protocols[0] == "h2",
		}
		stranger := r.stranger()
		stranger.http = &http.Client{Transport: transport, Timeout: testTimeout}
		r.awaitWaiting(1)
		for i, step := range []struct {
			cookie, path string
			strangers    int
		}{{"", "/login", 1}, {"", "/devices", 1}, {"wrong", "/devices", 1}, {b.cookie, "/devices", 0}, {"", "/login", 0}} {
			stranger.cookie = step.cookie
			if a := stranger.do(http.MethodGet, step.path, ""); (a.ProtoMajor == 2) != (protocols[0] == "h2") {
				t.Errorf("%v: %s", protocols, a.Proto)
			}
			if waiting, strangers := r.door.counts(); waiting != 0 || strangers != step.strangers {
				t.Errorf("%v: after step %d %d connections wait and %d are strangers'", protocols, i, waiting, strangers)
			}
		}
		transport.CloseIdleConnections()
	}
}

// counts is how many connections have not asked for anything, and how many have not shown
// whose they are.
func (d *door) counts() (waiting, strangers int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waiting.Len(), d.strangers.Len()
}

// awaitWaiting waits until that many connections have come and asked for nothing.
func (r *rig) awaitWaiting(n int) {
	r.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond) // the door tells nobody who comes
	defer tick.Stop()
	ctx := r.context()
	for {
		if waiting, _ := r.door.counts(); waiting == n {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.t.Fatalf("%d connections do not wait", n)
		}
	}
}
