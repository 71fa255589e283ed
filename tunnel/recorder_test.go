package tunnel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"borealis/store"
	"borealis/tunnel/wg"
)

// A saboteur has a connection of its own to a rig's database.
type saboteur struct {
	t    *testing.T
	conn *sqlite.Conn
}

func (r *rig) saboteur(t *testing.T) *saboteur {
	t.Helper()
	conn, err := sqlite.OpenConn(r.dir+"/borealis.db", sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetBusyTimeout(10 * time.Second)
	return &saboteur{t, conn}
}

// spoil makes the audit trail unwritable, for records of some kinds or for all.
func (s *saboteur) spoil(kinds ...string) {
	s.t.Helper()
	when := ""
	if len(kinds) > 0 {
		when = "WHEN NEW.kind IN ('" + strings.Join(kinds, "','") + "')"
	}
	s.do("CREATE TRIGGER spoilt BEFORE INSERT ON audit " + when + " BEGIN SELECT raise(ABORT, 'no room on the disk'); END")
}

func (s *saboteur) mend() {
	s.t.Helper()
	s.do("DROP TRIGGER spoilt")
}

func (s *saboteur) do(statement string) {
	s.t.Helper()
	if err := sqlitex.ExecuteTransient(s.conn, statement, nil); err != nil {
		s.t.Fatal(err)
	}
}

// refusesToRecord checks that something was not done because it could not be recorded.
func refusesToRecord(t *testing.T, r *rig, err error) {
	t.Helper()
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "the audit trail cannot be written") || strings.Contains(err.Error(), "disk") {
		t.Errorf("not refused for want of a record: %v", err)
	}
	r.until(t, func() bool { return r.Recording() != nil }) // and it is known
}

// works waits until the audit trail is as it should be, and returns what is on record.
func (r *rig) works(t *testing.T, deviceID string) []store.Record {
	t.Helper()
	r.until(t, func() bool { return r.Recording() == nil })
	return r.records(t, store.RecordQuery{DeviceID: deviceID})
}

func outcomes(all []store.Record) string {
	var text []string
	for _, l := range all {
		text = append(text, fmt.Sprintf("%s %s %s", l.Kind, l.Actor, l.Result))
	}
	return strings.Join(text, "\n")
}

func TestNoTunnelWithoutARecord(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	s := r.saboteur(t)
	s.spoil("tunnel_requested")
	_, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{})
	refusesToRecord(t, r, err)
	_, err = r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{}) // now it is known beforehand
	refusesToRecord(t, r, err)
	if n := len(r.Tunnels()); n != 0 || len(h.offers) != 0 {
		t.Errorf("%d tunnels, %d offers", n, len(h.offers))
	}
	s.mend()
	if got := outcomes(r.works(t, h.device.ID)); strings.Count(got, "tunnel_requested") != 1 || !strings.Contains(got, "tunnel_requested nora refused") {
		t.Errorf("on record:\n%s", got)
	}
	r.up(t, h, holder("nora"))
}

func TestNobodyJoinsWithoutARecord(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	id := r.up(t, h, holder("nora")).TunnelID
	s := r.saboteur(t)
	s.spoil("operator_joined")
	_, err := r.Connect(t.Context(), h.device.ID, holder("jon"), ConnectOptions{})
	refusesToRecord(t, r, err)
	if st, err := r.Status(t.Context(), h.device.ID); err != nil || st.TunnelID != id || len(st.Operators) != 1 {
		t.Errorf("attached: %+v, %v", st.Operators, err)
	}
	s.mend()
	if got := outcomes(r.works(t, h.device.ID)); strings.Count(got, "operator_joined jon") != 1 || !strings.Contains(got, "operator_joined jon refused") {
		t.Errorf("on record:\n%s", got)
	}
	st, err := r.Connect(t.Context(), h.device.ID, holder("jon"), ConnectOptions{})
	if err != nil || len(st.Operators) != 2 {
		t.Errorf("mended: %+v, %v", st.Operators, err)
	}
}

func TestNoShellWithoutARecord(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	id := r.up(t, h, holder("nora")).TunnelID
	running := r.shell(t, id, holder("nora"))
	s := r.saboteur(t)
	s.spoil("terminal_opened")
	_, _, err := r.Terminal(t.Context(), holder("nora"), TerminalRequest{TunnelID: id})
	refusesToRecord(t, r, err)
	asked := false
	_, _, err = r.Terminal(t.Context(), holder("nora"), TerminalRequest{TunnelID: id, Permit: func(context.Context) error { asked = true; return nil }})
	refusesToRecord(t, r, err)
	if n := len(r.session(id).running()); n != 1 || asked {
		t.Errorf("%d shells run, want 1; a second factor was asked for: %v", n, asked)
	}
	if _, resumed, err := r.Terminal(t.Context(), holder("nora"), TerminalRequest{TunnelID: id, TerminalID: running.ID()}); err != nil || !resumed {
		t.Errorf("the shell that runs: %v, %v", resumed, err)
	}
	s.mend()
	if got := outcomes(r.works(t, h.device.ID)); strings.Count(got, "terminal_opened nora done") != 1 || strings.Count(got, "terminal_opened nora refused") != 1 {
		t.Errorf("on record:\n%s", got)
	}
	r.shell(t, id, holder("nora"))
}

// TestEndsAreRecordedLater: what ends while the trail cannot be written stays ended, and
// is recorded in order and with its own time as soon as that is possible.
func TestEndsAreRecordedLater(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	id := r.up(t, h, holder("nora")).TunnelID
	if _, err := r.Connect(t.Context(), h.device.ID, holder("jon"), ConnectOptions{}); err != nil {
		t.Fatal(err)
	}
	term := r.shell(t, id, holder("jon"))
	before := r.lines(t, id)
	s := r.saboteur(t)
	s.spoil()
	if st, err := r.Disconnect(t.Context(), id, holder("jon"), false); err != nil || !st.Up() || len(st.Operators) != 1 {
		t.Fatalf("jon left: %+v, %v", st, err)
	}
	r.until(t, func() bool { return r.Recording() != nil })
	if st, err := r.Disconnect(t.Context(), id, holder("nora"), false); err != nil || st.State != Ended || st.Reason != OperatorDisconnect {
		t.Fatalf("nora left: %+v, %v", st, err)
	}
	if n := r.peers(t); n != 0 || !over(term) {
		t.Errorf("%d peers, the shell is over: %v", n, over(term))
	}
	if row, err := r.store.Tunnel(t.Context(), id); err != nil || row.State == string(Ended) {
		t.Errorf("the test spoils nothing: %+v, %v", row, err)
	}
	_, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{})
	refusesToRecord(t, r, err)
	mended := time.Now()
	s.mend()
	all := r.works(t, h.device.ID)
	got := r.lines(t, id)[len(before):]
	want := "operator_left jon operator_disconnect|operator_left nora operator_disconnect|terminal_closed jon operator_disconnect|tunnel_down nora operator_disconnect"
	if strings.Join(got, "|") != want {
		t.Errorf("on record: %s, want %s", strings.Join(got, "|"), want)
	}
	for _, l := range all {
		if l.At.After(mended) {
			t.Errorf("%s has the time at which it was written", l.Kind)
		}
	}
	row, err := r.store.Tunnel(t.Context(), id)
	if err != nil || row.Reason != string(OperatorDisconnect) || row.EndedAt.After(mended) || row.ReceivedBytes == 0 {
		t.Errorf("the tunnel is stored as %+v, %v", row, err)
	}
	r.up(t, h, holder("nora"))
}

// TestTunnelsEndWithoutTheTrail: after a while nothing goes on that cannot be recorded.
func TestTunnelsEndWithoutTheTrail(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.unrecorded = 10 * time.Millisecond })
	hosts := []*host{r.join(t), r.join(t)}
	var ids []string
	for _, h := range hosts {
		ids = append(ids, r.up(t, h, holder("nora")).TunnelID)
	}
	s := r.saboteur(t)
	s.spoil()
	r.record(store.Record{Kind: "firewall_repaired"}) // anything that happens
	r.until(t, func() bool { return len(r.Tunnels()) == 0 })
	if n := r.peers(t); n != 0 {
		t.Errorf("%d peers", n)
	}
	_, err := r.Connect(t.Context(), hosts[0].device.ID, holder("nora"), ConnectOptions{})
	refusesToRecord(t, r, err)
	s.mend()
	r.until(t, func() bool { return r.Recording() == nil })
	for i, id := range ids {
		if got := r.ending(t, id); got != InternalError {
			t.Errorf("ended as %s", got)
		}
		all := r.records(t, store.RecordQuery{TunnelID: id})
		if l := all[len(all)-1]; l.Kind != "tunnel_down" || l.Detail != "the audit trail cannot be written" || l.Actor != "" {
			t.Errorf("on record: %+v", l)
		}
		r.up(t, hosts[i], holder("nora"))
	}
}

// TestUnwrittenRecordsAreBounded: what does not fit is counted, and its lack is on record.
func TestUnwrittenRecordsAreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	id := r.up(t, h, holder("nora")).TunnelID
	s := r.saboteur(t)
	s.spoil()
	r.record(store.Record{Kind: "firewall_repaired"})
	r.until(t, func() bool { return r.Recording() != nil })
	for range maxUnwritten + 6 {
		r.record(store.Record{Kind: "firewall_repaired"})
	}
	r.recordEnd(store.Record{Kind: "operator_left", TunnelID: id}) // is kept
	r.until(t, func() bool { return len(r.Tunnels()) == 0 })       // nothing goes on that may be lost
	s.mend()
	r.works(t, "")
	if got := len(r.records(t, store.RecordQuery{Kind: "firewall_repaired"})); got != maxUnwritten {
		t.Errorf("%d records, want %d", got, maxUnwritten)
	}
	lost := r.records(t, store.RecordQuery{Kind: "records_lost"})
	if len(lost) != 1 || !strings.HasPrefix(lost[0].Detail, "7,") {
		t.Errorf("what was lost: %+v", lost)
	}
	if got := r.lines(t, id); len(got) < 4 || got[2] != "operator_left" || got[3] != "tunnel_down  internal_error" {
		t.Errorf("on record: %q", got)
	}
}

// TestCloseWithoutTheTrail: a manager stops although it cannot record that, and the next
// one finds what it left.
func TestCloseWithoutTheTrail(t *testing.T) {
	t.Parallel()
	logs := new(lockedBuffer)
	r := newRig(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(logs, nil)) })
	h := r.join(t)
	id := r.up(t, h, holder("nora")).TunnelID
	s := r.saboteur(t)
	s.spoil("tunnel_down")
	soon, cancel := context.WithTimeout(t.Context(), endTimeout/2)
	defer cancel()
	if st, err := r.Disconnect(soon, id, holder("nora"), false); err != nil || st.State != Ended {
		t.Errorf("an end that cannot be recorded is waited for: %+v, %v", st, err)
	}
	r.Close()
	if got := logs.String(); !strings.Contains(got, "msg=record_lost kind=tunnel_down") {
		t.Errorf("the log says\n%s", got)
	}
	h.offline() // the last of it
	s.mend()
	again, err := Open(t.Context(), Config{Store: r.store, Keys: r.keys, Link: wg.Config{Mode: wg.Netstack, Name: "borealis0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if row, err := r.store.Tunnel(t.Context(), id); err != nil || row.Reason != string(EngineRestart) {
		t.Errorf("%+v, %v", row, err)
	}
}

// A lockedBuffer is a buffer for whoever writes at the same time.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
