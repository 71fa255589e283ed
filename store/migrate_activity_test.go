package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"
)

// TestActivityBecomesChain opens a database of version 2, made by its own scripts:
// what it knows stays, and its activity is the beginning of the chain.
func TestActivityBecomesChain(t *testing.T) {
	t.Parallel()
	path, conn := openOld(t, 2)
	do(t, conn,
		"PRAGMA foreign_keys = ON",
		"INSERT INTO operator VALUES ('o', 'Zoë Å.', 'zoë å.', 'h', 'admin', 1)",
		"INSERT INTO session VALUES ('s', zeroblob(32), 'o', 1, 2, 3, '192.0.2.1', 'agent')",
		"INSERT INTO api_token VALUES ('a', zeroblob(32), 'o', 'ci', 1, NULL)",
		"INSERT INTO code VALUES ('c', zeroblob(32), 500, 1, 1, 'Oslo', 'ada', 1, 2)",
		"INSERT INTO device VALUES ('d', '"+pin(1)+"', 'active', 'pc-1', 'linux', '', '', '', '', 'm1', 'Oslo', NULL, 1, 1, 1)",
		"INSERT INTO lease VALUES (10, 'd', 1)",
		"UPDATE device SET virtual_ip = 10",
		"INSERT INTO tunnel VALUES ('t', 'd', 'ada', 'j', 10, 'up', '', 1, 2, NULL, 0, 0, '[]')",
		"INSERT INTO port_override VALUES ('d', 'ssh', '', 0, 0, '', 1, NULL, '', 'ada', 1)",
		"INSERT INTO setting VALUES ('k', 'v')",
	)
	const lines = 2500
	var want []Record
	do(t, conn, "BEGIN")
	for i := range lines {
		id := 3*i + 7 // with gaps, as a rolled back transaction leaves them
		r := Record{Seq: int64(i + 1), At: noon.Add(time.Duration(-i)), Actor: "ada", Kind: fmt.Sprint("kind_", i%7), Result: Done, Detail: fmt.Sprint("line ", i)}
		device, tunnel := "NULL", "NULL"
		if i%2 == 0 {
			r.DeviceID, r.Reason, device = "d", "why", "'d'"
		}
		if i%4 == 0 {
			r.TunnelID, tunnel = "t", "'t'"
		}
		want = append(want, r)
		do(t, conn, fmt.Sprintf("INSERT INTO activity VALUES (%d, %d, %s, %s, 'ada', '%s', '%s', '%s')", id, nanos(r.At), device, tunnel, r.Kind, r.Reason, r.Detail))
	}
	do(t, conn, "COMMIT",
		"INSERT INTO activity VALUES (99999, 0, NULL, NULL, 'a' || char(0) || x'ff', 'k', '', replace(hex(zeroblob(3000)), '00', 'é'))")
	want = append(want, Record{Seq: lines + 1, Actor: "a\uFFFD\uFFFD", Kind: "k", Result: Done, Detail: strings.Repeat("é", MaxDetail/2)})
	before := contents(t, conn)

	s := openAt(t, path)
	var got []Record
	if err := s.EachRecord(t.Context(), 0, func(r Record) error { got = append(got, r); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, noHash); diff != "" {
		t.Errorf("chain (-want +got):\n%s", diff)
	}
	checkChain(t, s)
	addRecords(t, s, Record{Kind: "next"})
	if n := checkChain(t, s); n != lines+2 {
		t.Errorf("%d lines, want one more", n)
	}

	after := contents(t, conn)
	if _, there := after["activity"]; there {
		t.Error("the old table is still there")
	}
	rows(t, conn, "SELECT name FROM sqlite_schema WHERE name LIKE 'activity%'", func(stmt *sqlite.Stmt) {
		t.Errorf("%s is still there", stmt.ColumnText(0))
	})
	for table := range strings.FieldsSeq("api_token code lease tunnel port_override setting") {
		if diff := cmp.Diff(before[table], after[table]); diff != "" || len(after[table]) == 0 {
			t.Errorf("table %s (-before +after):\n%s", table, diff)
		}
	}
	o, err := s.OperatorByName(t.Context(), "zoë Å.")
	if err != nil || o.ID != "o" || len(o.Sites) != 0 {
		t.Errorf("operator %+v, %v", o, err)
	}
	sessions, err := s.Sessions(t.Context(), "o")
	if err != nil || len(sessions) != 1 || sessions[0].Method != ByPassword || !sessions[0].VerifiedAt.IsZero() {
		t.Errorf("sessions %+v, %v", sessions, err)
	}
	d, err := s.Device(t.Context(), "d")
	if err != nil || d.Site != "Oslo" || d.Replaces != "" || !d.VirtualIP.IsValid() {
		t.Errorf("device %+v, %v", d, err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}
