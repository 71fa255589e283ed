package handlers

import (
	queue "container/list"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of connections that have proven nothing yet: those that have not finished
// their TLS handshake and their first request's header. The early limit and its chances
// are those of OpenSSH's MaxStartups, 30 of 100 and growing.
const (
	maxHalfOpen       = 2048 // altogether
	maxSourceHalfOpen = 512  // of one address, or one IPv6 network of a subscriber
	earlyHalfOpen     = 1024 // from which on a busy source's connections are dropped by chance
	modestHalfOpen    = 16   // what a source may have without being busy
	earlyChance       = 0.3  // of being dropped at earlyHalfOpen; 1 at maxHalfOpen

	halfOpenTime = 2 * headerTimeout // for the handshake and the header together
)

// Limits of connections that have made requests, none of which showed who makes them.
const (
	maxStrangers = 4096 // the one that was idle for longest goes first
	strangerIdle = 30 * time.Second
)

const crowdedLog = time.Minute // least time between two lines about refused connections

// A door lets connections in, and bounds those of which nobody knows whose they are.
// It is safe for concurrent use.
type door struct {
	log         *slog.Logger
	descriptors descriptors

	open          atomic.Int64 // connections that came in and are not closed
	turnedAway    atomic.Int64 // that did not come in
	agentsRefused atomic.Int64 // because few descriptors were left

	mu        sync.Mutex
	waiting   queue.List     // of *visitor, who have not asked for anything; the oldest first
	sources   map[string]int // how many of them are waiting
	strangers queue.List     // of *visitor, who have asked for something; the idlest first
	refused   int            // how many were, since the last line in the log
	logged    time.Time
	scarce    int // agents that were refused, since the last line in the log
	scarceAt  time.Time
}

// A visitor is a connection that came through the door.
type visitor struct {
	net.Conn

	door   *door
	source string
	late   *time.Timer
	closed atomic.Bool

	// Guarded by the door.
	in       *queue.List // where it is counted, nil once it is not
	place    *queue.Element
	requests int    // that take long and are under way
	passed   func() // ends its turn at the turnstile; nil without one
}

// Listener wraps the listener that [Server.HTTPServer] is going to serve, before TLS. It
// keeps connections that have proven nothing from using up what others need: those that
// are too many are closed at once.
func (s *Server) Listener(l net.Listener) net.Listener {
	s.door.descriptors.watch()
	return &doorListener{l, &s.door}
}

type doorListener struct {
	net.Listener

	door *door
}

// Accept returns the next connection that may come in.
func (l *doorListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if v := l.door.enter(conn); v != nil {
			return v, nil
		}
		conn.Close()
	}
}

// enter lets a connection in to wait; nil when it may not.
func (d *door) enter(conn net.Conn) *visitor {
	v := &visitor{Conn: conn, door: d, source: conn.RemoteAddr().String()}
	if a := remote(v.source); a.IsValid() {
		v.source = sourceOf(a)
	}
	scarce := d.short(2)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fullLocked(v.source) {
		d.refuseLocked(v.source)
		return nil
	}
	switch {
	case d.waiting.Len() >= maxHalfOpen, scarce && d.waiting.Len() > 0:
		d.evictLocked(&d.waiting)
	case scarce && d.strangers.Len() > 0:
		d.evictLocked(&d.strangers)
	}
	if d.sources == nil {
		d.sources = make(map[string]int)
	}
	d.sources[v.source]++
	v.in, v.place = &d.waiting, d.waiting.PushBack(v)
	v.late = time.AfterFunc(halfOpenTime, func() { _ = v.shut() })
	d.open.Add(1)
	return v
}

// fullLocked reports whether there is no room for one more of a source. When it gets
// crowded, those are turned away whose source is busy, so that one who comes alone
// finds room.
func (d *door) fullLocked(source string) bool {
	mine, all := d.sources[source], d.waiting.Len()
	switch {
	case mine >= maxSourceHalfOpen:
		return true
	case mine < modestHalfOpen || all < earlyHalfOpen:
		return false
	}
	crowd := float64(all-earlyHalfOpen) / (maxHalfOpen - earlyHalfOpen)
	return rand.Float64() < earlyChance+(1-earlyChance)*crowd // #nosec G404 -- chance, not a secret
}

func (d *door) refuseLocked(source string) {
	d.turnedAway.Add(1)
	d.refused++
	if now := time.Now(); now.Sub(d.logged) >= crowdedLog {
		d.log.Warn("connections_refused", "addr", source, "count", d.refused, "open", d.waiting.Len())
		d.refused, d.logged = 0, now
	}
}

// evictLocked closes the connection that is first in a list.
func (d *door) evictLocked(l *queue.List) {
	first := l.Front().Value.(*visitor)
	d.leaveLocked(first)
	_ = first.shut()
}

func (d *door) leaveLocked(v *visitor) {
	if v.in == nil {
		return
	}
	v.late.Stop()
	v.in.Remove(v.place)
	if v.passed != nil {
		v.passed()
		v.passed = nil
	}
	if v.in == &d.waiting {
		if d.sources[v.source]--; d.sources[v.source] == 0 {
			delete(d.sources, v.source)
		}
	}
	v.in = nil
}

// passes notes that the connection has a turn at the turnstile, which leave ends: when the handshake and
// the first request's header are there, or the connection is gone.
func (v *visitor) passes(leave func()) {
	if v == nil {
		leave()
		return
	}
	v.door.mu.Lock()
	defer v.door.mu.Unlock()
	if v.in != &v.door.waiting {
		leave()
		return
	}
	v.passed = leave
}

// asks notes that the connection makes a request.
func (v *visitor) asks() {
	if v == nil {
		return
	}
	d := v.door
	d.mu.Lock()
	defer d.mu.Unlock()
	if v.in == nil {
		return // it is known, or gone
	}
	d.leaveLocked(v)
	if d.strangers.Len() >= maxStrangers {
		d.evictLocked(&d.strangers)
	}
	v.in, v.place = &d.strangers, d.strangers.PushBack(v)
	v.restLocked()
}

// restLocked lets the time begin after which a stranger's connection is taken for idle.
func (v *visitor) restLocked() {
	if v.in == &v.door.strangers && v.requests == 0 {
		v.late.Reset(strangerIdle)
	}
}

// busy keeps the connection from being taken for idle until over is called, for requests
// whose answers take long.
func (v *visitor) busy() (over func()) {
	if v == nil {
		return func() {}
	}
	v.door.mu.Lock()
	defer v.door.mu.Unlock()
	v.requests++
	if v.in == &v.door.strangers {
		v.late.Stop()
	}
	return func() {
		v.door.mu.Lock()
		defer v.door.mu.Unlock()
		v.requests--
		v.restLocked()
	}
}

// known notes that the connection has shown whose it is.
func (v *visitor) known() {
	if v == nil {
		return
	}
	v.door.mu.Lock()
	defer v.door.mu.Unlock()
	v.door.leaveLocked(v)
}

// Close closes the connection.
func (v *visitor) Close() error {
	v.known()
	return v.shut()
}

// shut closes the connection and counts it out.
func (v *visitor) shut() error {
	if !v.closed.Swap(true) {
		v.door.open.Add(-1)
	}
	return v.Conn.Close()
}

// short reports whether fewer file descriptors are left than a part of those that are reserved for
// operators.
func (d *door) short(part int) bool {
	left, known := d.descriptors.left(d.open.Load())
	return known && left < d.descriptors.reserve()/part
}

// errNoDescriptors is why an agent is not let in. It comes again.
var errNoDescriptors = errors.New("few file descriptors are left, and they are for operators")

// admitAgent refuses the connection of an agent while only those file descriptors are left that
// operators may need. Agents that are connected stay.
func (d *door) admitAgent(from string) error {
	if !d.short(1) {
		return nil
	}
	d.agentsRefused.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.scarce++
	if now := time.Now(); now.Sub(d.scarceAt) >= crowdedLog {
		d.log.Warn("agents_refused", "addr", from, "count", d.scarce, "limit", d.descriptors.limit, "reason", errNoDescriptors)
		d.scarce, d.scarceAt = 0, now
	}
	return errNoDescriptors
}

// visitorKey is where the context of a connection's requests holds it.
type visitorKey struct{}

// withVisitor puts a connection of the HTTP server into its requests' context.
func withVisitor(ctx context.Context, conn net.Conn) context.Context {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if v := visitorOn(conn); v != nil {
		return context.WithValue(ctx, visitorKey{}, v)
	}
	return ctx
}

// visitorOn is a connection that came through the door; nil for another one.
func visitorOn(conn net.Conn) *visitor {
	v, _ := conn.(*visitor)
	return v
}

// visitorOf is the connection that a request came on; nil when it came through no door.
func visitorOf(ctx context.Context) *visitor {
	v, _ := ctx.Value(visitorKey{}).(*visitor)
	return v
}
