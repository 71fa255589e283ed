package store

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// addRecords appends records.
func addRecords(t testing.TB, s *Store, records ...Record) {
	t.Helper()
	for _, r := range records {
		if err := s.AddRecord(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

// lastRecord is the newest line without its number and hash.
func lastRecord(t testing.TB, s *Store) Record {
	t.Helper()
	lines, err := s.Records(t.Context(), RecordQuery{Scope: everything, Limit: 1})
	if err != nil || len(lines) != 1 {
		t.Fatal(lines, err)
	}
	lines[0].Seq, lines[0].Hash = 0, [32]byte{}
	return lines[0]
}

func TestRecord(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	d := addDevices(t, s, 1)[0] // line 1
	full := Record{
		At: noon, Actor: "ada", Session: "s1", Source: "192.0.2.1", Kind: "tunnel_up", DeviceID: d.ID, TunnelID: "t1",
		Target: "pc", Result: Refused, Reason: "r", Detail: "two\nlines",
	}
	ignored := full
	ignored.Seq, ignored.Hash, ignored.Hostname = 99, hash("x"), "ignored"
	addRecords(t, s, ignored)
	want := full
	want.Seq, want.Hostname = 2, "pc-1"
	got, err := s.Records(ctx, RecordQuery{Scope: everything, Limit: 1})
	if diff := cmp.Diff([]Record{want}, got, noHash); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err := s.UpdateDevice(ctx, d.ID, DeviceFacts{Hostname: "renamed", Seen: noon}); err != nil {
		t.Fatal(err)
	}
	if got := lastRecord(t, s).Hostname; got != "renamed" {
		t.Errorf("the host name of a renamed device is %q", got)
	}
	before := time.Now()
	addRecords(t, s, Record{Kind: "signed_in"})
	if got := lastRecord(t, s); got.At.Before(before) || got.At.After(time.Now()) || got.Result != Done {
		t.Errorf("a record without time and result: %+v, want it to be now and done", got)
	}
	for _, r := range []Record{{}, {Kind: "k", Result: "perhaps"}} {
		if err := s.AddRecord(ctx, r); err == nil {
			t.Errorf("%+v was stored", r)
		}
	}
}

// TestRecordTexts makes sure that a line reads back as what was hashed, whatever
// somebody managed to put into it.
func TestRecordTexts(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	long := strings.Repeat("x", MaxText-1)
	for text, want := range map[string]string{
		"plain":                     "plain",
		"a\x00b":                    "a\uFFFDb",
		"bad \xff\xfe, good \u00e9": "bad \uFFFD, good \u00e9",
		long + "yz":                 long + "y",
		long + "\u00e9":             long, // not half a character
		long + "\xff":               long,
	} {
		addRecords(t, s, Record{Kind: "k", Actor: text, Session: text, Source: text, DeviceID: text, TunnelID: text, Target: text, Reason: text, Detail: text})
		got := lastRecord(t, s)
		got.At = time.Time{}
		detail := want
		if strings.HasPrefix(text, long) { // it is allowed more
			detail = strings.ToValidUTF8(text, "\uFFFD")
		}
		all := Record{Kind: "k", Actor: want, Session: want, Source: want, DeviceID: want, TunnelID: want, Target: want, Reason: want, Result: Done, Detail: detail}
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	addRecords(t, s, Record{Kind: strings.Repeat("k", 2*MaxText), Detail: strings.Repeat("\u00e9", MaxDetail)})
	if got := lastRecord(t, s); len(got.Kind) != MaxText || got.Detail != strings.Repeat("\u00e9", MaxDetail/2) {
		t.Errorf("a kind of %d bytes and a detail of %d", len(got.Kind), len(got.Detail))
	}
	checkChain(t, s)
}

func TestLinesAreKept(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	addRecords(t, s, Record{Kind: "signed_in", Actor: "ada"})
	seq, hash, err := s.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddCheckpoint(ctx, Checkpoint{Seq: seq, Hash: hash, Key: []byte("k"), Vouch: []byte("v"), Signature: []byte("s")}); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"DELETE FROM audit", "UPDATE audit SET actor = 'eve'", "UPDATE audit SET seq = seq + 1",
		"INSERT OR REPLACE INTO audit SELECT seq, at, 'eve', session, source, kind, device_id, tunnel_id, target, result, reason, detail, hash FROM audit",
		"DELETE FROM audit_checkpoint", "UPDATE audit_checkpoint SET signature = x'00'",
		"INSERT OR REPLACE INTO audit_checkpoint SELECT seq, hash, at, key, vouch, x'00' FROM audit_checkpoint",
	} {
		err := s.write(ctx, func(conn *sqlite.Conn) error {
			return sqlitex.ExecuteTransient(conn, statement, nil)
		})
		if err == nil {
			t.Errorf("%s was done", statement)
		}
	}
	if got := lastRecord(t, s); got.Actor != "ada" {
		t.Errorf("record %+v", got)
	}
	if all, err := s.Checkpoints(ctx); err != nil || len(all) != 1 || string(all[0].Signature) != "s" {
		t.Errorf("checkpoints %+v, %v", all, err)
	}
	checkChain(t, s)
}
