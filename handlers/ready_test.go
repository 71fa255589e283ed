package handlers

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"borealis/tunnel"
)

// askReady asks whether an engine is ready, past what was found out a moment ago.
func (r *rig) askReady() (status int, body string) {
	r.t.Helper()
	r.ready.mu.Lock()
	r.ready.parts = nil
	r.ready.mu.Unlock()
	a := r.stranger().do(http.MethodGet, "/readyz", "")
	return a.StatusCode, strings.TrimSpace(a.body)
}

// wantMissing compares what a stranger is told with the parts that are not ready.
func (r *rig) wantMissing(when string, parts ...string) {
	r.t.Helper()
	want, status := `{"status":"ready"}`, http.StatusOK
	if len(parts) > 0 {
		want, status = `{"status":"not ready","missing":["`+strings.Join(parts, `","`)+`"]}`, http.StatusServiceUnavailable
	}
	if got, said := r.askReady(); got != status || said != want {
		r.t.Errorf("%s: %d %s, want %d %s", when, got, said, status, want)
	}
}

// TestReady: an engine says with a word what it lacks, to anyone, and no more.
func TestReady(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.wantMissing("at rest")

	device := r.realAgent()
	conn, err := sqlite.OpenConn(r.path, sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetBusyTimeout(testTimeout)
	if err := sqlitex.ExecuteTransient(conn, "CREATE TRIGGER spoilt BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'no room on the disk'); END", nil); err != nil {
		t.Fatal(err)
	}
	events, stop := r.manager.Watch()
	defer stop()
	r.manager.Drop(t.Context(), device, tunnel.DeviceRevoked) // which is to be recorded
	for r.manager.Recording() == nil {
		select {
		case <-events:
		case <-r.context().Done():
			t.Fatal("the trail stays writable")
		}
	}
	r.wantMissing("without room for the audit trail", "audit")
	if err := sqlitex.ExecuteTransient(conn, "DROP TRIGGER spoilt", nil); err != nil {
		t.Fatal(err)
	}
	for r.manager.Recording() != nil {
		select {
		case <-events:
		case <-r.context().Done():
			t.Fatal("the trail stays unwritable")
		}
	}
	r.wantMissing("with room again")

	r.Stopping()
	r.wantMissing("when it stops", "engine")
	if a := r.stranger().do(http.MethodGet, "/healthz", ""); a.StatusCode != http.StatusOK {
		t.Errorf("healthz says %d while it stops", a.StatusCode)
	}
	r.store.Close()
	r.wantMissing("without its database", "engine", "database")
}

// TestReadyWithoutLink: when WireGuard's port is taken the console serves, and the engine is not ready.
func TestReadyWithoutLink(t *testing.T) {
	t.Parallel()
	taken, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := newRig(t, func(c *tunnel.Config) { c.Link.ListenPort = taken.LocalAddr().(*net.UDPAddr).Port })
	r.wantMissing("without its port", "link")
	parts := r.Parts(t.Context())
	i := slices.IndexFunc(parts, func(p Part) bool { return p.Name == "link" })
	if i < 0 || parts[i].Err == nil || !strings.Contains(parts[i].Err.Error(), "UDP port") {
		t.Errorf("the reason is in none of %v", parts)
	}
}

// TestReadyIsRemembered: those who ask at the same time, or soon after, share one look, and none of
// them ends it for the others.
func TestReadyIsRemembered(t *testing.T) {
	t.Parallel()
	var r readiness
	var looks atomic.Int32
	look := func(ctx context.Context) []Part {
		looks.Add(1)
		return []Part{{"database", ctx.Err()}}
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	var asking sync.WaitGroup
	for range 10 {
		asking.Go(func() {
			if parts := r.look(left, look); len(parts) != 1 || parts[0].Err != nil {
				t.Errorf("it is said that %v", parts)
			}
		})
	}
	asking.Wait()
	if n := looks.Load(); n > 2 { // two, when a second passed meanwhile
		t.Errorf("%d looks for ten questions at the same time", n)
	}
	r.at = r.at.Add(-readyFor)
	if r.look(t.Context(), func(context.Context) []Part { return []Part{{"database", errors.New("gone")}} })[0].Err == nil {
		t.Error("an answer is believed for too long")
	}
}
