package audit

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"borealis/store"
)

// forward runs a forwarder until the test stops it or ends.
func forward(t *testing.T, f *Forwarder) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("the forwarder ended: %v", err)
			}
		case <-time.After(testTimeout):
			t.Error("the forwarder does not stop")
		}
	})
	t.Cleanup(stop)
	return stop
}

// What is there and what comes is sent in order, every field of it, with the
// checkpoints; after a stop in good order nothing is sent twice.
func TestForwardInOrder(t *testing.T) {
	t.Parallel()
	db, dir := newStore(t)
	r := newReceiver(t)
	r.start()
	add(t, db, 1, 2*forwardBatch/10)
	last := 2 * forwardBatch / 10
	f := r.forwarder(db, dir)
	stop := forward(t, f)
	for want := 1; want <= last; want++ {
		if got := r.nextRecord(); got != want {
			t.Fatalf("record %d comes instead of %d", got, want)
		}
	}
	a := newAuthority(t)
	signer := a.signer(t, db, dir, func(c *Config) { c.Notify = f.Checkpoint })
	signNow(t, signer)
	m := r.next()
	if m["id"] != "checkpoint" || number(t, m["seq"]) != last || !signed(checkpointOf(t, m)) {
		t.Errorf("instead of the checkpoint comes %v", m)
	}
	add(t, db, 3, 3)
	if got := r.nextRecord(); got != last+1 {
		t.Errorf("record %d comes instead of %d", got, last+1)
	}
	stop()
	if got := cursorOf(t, dir); got != itoa(last+1) {
		t.Errorf("after the stop the cursor is at %q", got)
	}

	add(t, db, 7, 7)
	r2 := r.forwarder(db, dir)
	stop = forward(t, r2)
	for {
		m := r.next()
		if m["id"] == "checkpoint" {
			continue
		}
		want, err := batch(t.Context(), db, int64(last+1), 1)
		if err != nil {
			t.Fatal(err)
		}
		if m["seq"] != itoa(last+2) || m["hash"] != digest(want[0].Hash).String() || m["detail"] != visible(want[0].Detail) || m["result"] != store.Refused {
			t.Errorf("after a start comes %v", m)
		}
		break
	}
	stop()
}

// More than one batch comes whole and in order.
func TestForwardMany(t *testing.T) {
	t.Parallel()
	const records = 3*forwardBatch + 5
	db := openStore(t, fillMany(t, records))
	r := newReceiver(t)
	r.start()
	stop := forward(t, r.forwarder(db, t.TempDir()))
	for want := 1; want <= records; want++ {
		if got := r.nextRecord(); got != want {
			t.Fatalf("record %d comes instead of %d", got, want)
		}
	}
	stop()
}

// A log server that goes away, in the middle of things and more than once, loses
// nothing: what comes again is known by its number, and the first copies are in order.
func TestForwardSurvivesAServerThatGoesAway(t *testing.T) {
	t.Parallel()
	db, dir := newStore(t)
	r := newReceiver(t)
	r.start()
	forward(t, r.forwarder(db, dir))
	last := 0
	receive := func(until int) {
		t.Helper()
		for last < until {
			got := r.nextRecord()
			if got > last+1 {
				t.Fatalf("record %d comes after %d", got, last)
			}
			last = max(last, got)
		}
	}
	for round := range 3 {
		first := 1 + 60*round
		add(t, db, first, first+19)
		receive(first + 10) // the rest may be on its way
		r.stop()
		add(t, db, first+20, first+39)
		r.start()
		add(t, db, first+40, first+59)
		receive(first + 59)
	}
}

// What outlived the time in which a broken connection is noticed counts as delivered,
// and is not sent again.
func TestForwardSettles(t *testing.T) {
	t.Parallel()
	db, dir := newStore(t)
	r := newReceiver(t)
	r.start()
	f := r.forwarder(db, dir)
	f.settle = 10 * time.Millisecond
	forward(t, f)
	add(t, db, 1, 5)
	for range 5 {
		r.nextRecord()
	}
	for ctx := bounded(t); cursorOf(t, dir) != "5"; {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the cursor is at %q", cursorOf(t, dir))
		}
	}
	r.stop()
	add(t, db, 6, 6)
	r.start()
	if got := r.nextRecord(); got != 6 {
		t.Errorf("record %d is sent again", got)
	}
}

// A server that is too far behind is told what it does not get, and so is the trail;
// what comes after the gap is whole.
func TestForwardSkipsWhatIsTooFarBehind(t *testing.T) {
	t.Parallel()
	db, dir := newStore(t)
	add(t, db, 1, 40)
	r := newReceiver(t)
	r.start()
	var log bytes.Buffer
	f := r.forwarder(db, dir, func(c *ForwarderConfig) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	f.behind = 10
	stop := forward(t, f)
	if m := r.next(); m["id"] != "gap" || m["from"] != "1" || m["to"] != "30" {
		t.Fatalf("instead of the gap comes %v", m)
	}
	for want := 31; want <= 40; want++ {
		if got := r.nextRecord(); got != want {
			t.Fatalf("record %d comes instead of %d", got, want)
		}
	}
	m := r.next()
	if m["id"] != "syslog_gap" || m["detail"] != "records 1 to 30 were dropped, too far behind" || m["seq"] != "41" {
		t.Errorf("the trail says %v", m)
	}
	stop()
	if got := cursorOf(t, dir); got != "41" || !strings.Contains(log.String(), "msg=syslog_gap") {
		t.Errorf("the cursor is at %q; the log says %s", got, log.String())
	}
}

// A server that takes connections and reads nothing holds up nobody who writes
// records, nor the end of the engine, and nothing counts as delivered.
func TestDeafServerHoldsUpNobody(t *testing.T) {
	t.Parallel()
	// More than the sockets' buffers hold: 4 MiB on this side, and little on the other
	// as long as nobody reads.
	db := openStore(t, fillMany(t, 6000, strings.Repeat("x", longestDetail)))
	dir := t.TempDir()
	r := newReceiver(t)
	r.deaf = true
	r.start()
	f := r.forwarder(db, dir)
	stop := forward(t, f)
	select {
	case <-r.accepted:
	case <-bounded(t).Done():
		t.Fatal("nobody connects")
	}
	for n := range 50 {
		if err := db.AddRecord(bounded(t), sample(n)); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if got := cursorOf(t, dir); got != "" {
		t.Errorf("the cursor is at %s", got)
	}
}

// Only a server that the authorities know gets anything; it may ask for a certificate.
func TestForwardTLS(t *testing.T) {
	t.Parallel()
	db, dir := newStore(t)
	add(t, db, 1, 1)
	clientCert, clientKey := certificate(t)

	strict := newReceiver(t)
	pool := x509.NewCertPool()
	text, err := os.ReadFile(clientCert)
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	strict.config.ClientAuth, strict.config.ClientCAs = tls.RequireAndVerifyClientCert, pool
	strict.start()
	for name, with := range map[string]struct{ ca, cert, key string }{
		"another authority": {clientCert, clientCert, clientKey}, "the system's authorities": {"", clientCert, clientKey}, "no certificate": {strict.ca, "", ""},
	} {
		f := strict.forwarder(db, t.TempDir(), func(c *ForwarderConfig) { c.TLS, err = SyslogTLS(with.ca, with.cert, with.key) })
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
		if seq, err := f.connection(ctx, 0); err == nil || ctx.Err() != nil || seq != 0 {
			t.Errorf("%s: number %d, %v", name, seq, err)
		}
		cancel()
	}
	select {
	case m := <-strict.got:
		t.Errorf("somebody got %v", m)
	default:
	}
	forward(t, strict.forwarder(db, dir, func(c *ForwarderConfig) { c.TLS, err = SyslogTLS(strict.ca, clientCert, clientKey) }))
	if err != nil {
		t.Fatal(err)
	}
	if got := strict.nextRecord(); got != 1 {
		t.Errorf("record %d", got)
	}
}

// A cursor that is lost, or of a trail that was longer, has everything sent again.
func TestForwardWithoutItsCursor(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "x", "-1", "99\n"} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			db, dir := newStore(t)
			add(t, db, 1, 2)
			if err := os.WriteFile(filepath.Join(dir, "syslog.cursor"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			r := newReceiver(t)
			r.start()
			forward(t, r.forwarder(db, dir))
			if got := r.nextRecord(); got != 1 {
				t.Errorf("record %d comes first", got)
			}
		})
	}
}

func TestForwarderConfig(t *testing.T) {
	t.Parallel()
	db, _ := newStore(t)
	for name, c := range map[string]ForwarderConfig{
		"no store": {Address: "h:1", TLS: new(tls.Config), Cursor: "c"}, "no TLS": {Store: db, Address: "h:1", Cursor: "c"},
		"no cursor": {Store: db, Address: "h:1", TLS: new(tls.Config)}, "no port": {Store: db, Address: "host", TLS: new(tls.Config), Cursor: "c"},
	} {
		if _, err := NewForwarder(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	certFile, keyFile := certificate(t)
	for _, files := range [][3]string{{"nowhere"}, {keyFile}, {"", certFile, ""}, {"", "", keyFile}, {"", keyFile, certFile}} {
		if _, err := SyslogTLS(files[0], files[1], files[2]); err == nil {
			t.Errorf("%q: no error", files)
		}
	}
}
