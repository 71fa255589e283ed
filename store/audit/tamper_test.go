package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"borealis/store"

	"zombiezen.com/go/sqlite"
)

// A scene is a closed database with 25 records and checkpoints of numbers 10 and 20,
// the file with these checkpoints, and an older copy of both with 12 and the first.
type scene struct {
	dir string
	authority
}

func newScene(t *testing.T) scene {
	t.Helper()
	s := scene{t.TempDir(), newAuthority(t)}
	db, err := store.Open(t.Context(), s.path("borealis.db"))
	if err != nil {
		t.Fatal(err)
	}
	signer := s.signer(t, db, s.dir)
	add(t, db, 1, 10)
	signNow(t, signer)
	add(t, db, 11, 12)
	db.Close()
	copyFile(t, s.path("borealis.db"), s.path("older.db"))
	if db, err = store.Open(t.Context(), s.path("borealis.db")); err != nil {
		t.Fatal(err)
	}
	signer.config.Store = db
	add(t, db, 13, 20)
	signNow(t, signer)
	add(t, db, 21, 25)
	db.Close()
	return s
}

func (s scene) path(name string) string { return filepath.Join(s.dir, name) }

// copy is the scene in a directory of its own, to be tampered with.
func (s scene) copy(t *testing.T) scene {
	t.Helper()
	c := scene{t.TempDir(), s.authority}
	for _, name := range []string{"borealis.db", "older.db", "checkpoints.jsonl"} {
		copyFile(t, s.path(name), c.path(name))
	}
	return c
}

// tamper opens the database without the store, changes it, and closes it.
func (s scene) tamper(t *testing.T, how func(*sqlite.Conn)) {
	t.Helper()
	conn := raw(t, s.path("borealis.db"))
	how(conn)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
}

// verify opens the database and checks it against its checkpoints and those of files.
func (s scene) verify(t *testing.T, files ...string) Report {
	t.Helper()
	db := openStore(t, s.path("borealis.db"))
	for i := range files {
		files[i] = s.path(files[i])
	}
	report, err := VerifyStore(t.Context(), db, files, Options{Vouched: s.vouched})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// sql makes a way to tamper of statements.
func sql(statements ...string) func(*testing.T, scene) {
	return func(t *testing.T, s scene) {
		t.Helper()
		s.tamper(t, func(conn *sqlite.Conn) { do(t, conn, statements...) })
	}
}

// Whatever somebody does to the database, who can do anything to it but has no key,
// is found and named.
func TestTamperingIsFound(t *testing.T) {
	t.Parallel()
	type tampering struct {
		name string
		do   func(*testing.T, scene)
		seq  int64
		what string
	}
	var all []tampering
	for column, value := range map[string]string{
		"at": "at + 1", "actor": "'jon'", "session": "'x'", "source": "'192.0.2.1'", "kind": "kind || 'x'", "device_id": "NULL", "tunnel_id": "'x'",
		"target": "target || ' '", "result": "'failed'", "reason": "'x'", "detail": "replace(detail, 'number', 'Number')",
	} {
		all = append(all, tampering{"change " + column, sql("UPDATE audit SET " + column + " = " + value + " WHERE seq = 4"), 4, Changed})
	}
	all = append(all, []tampering{
		{"move text between fields", sql("UPDATE audit SET target = '', reason = target WHERE seq = 4"), 4, Changed},
		{"change the last record", sql("UPDATE audit SET detail = 'x' WHERE seq = 25"), 25, Changed},
		{"flip a bit of a hash", flipBit("audit", "hash", 7), 7, Changed},
		{"flip a bit of a signed hash", flipBit("audit", "hash", 10), 10, Changed},
		{"flip a bit of the last hash", flipBit("audit", "hash", 25), 25, Changed},
		{"delete the first", sql("DELETE FROM audit WHERE seq = 1"), 1, Missing},
		{"delete one in the middle", sql("DELETE FROM audit WHERE seq = 7"), 7, Missing},
		{"delete some in the middle", sql("DELETE FROM audit WHERE seq BETWEEN 7 AND 9"), 7, Missing},
		{"delete a signed one", sql("DELETE FROM audit WHERE seq = 10"), 10, Missing},
		{"delete the last signed one and all after it", sql("DELETE FROM audit WHERE seq >= 20"), 20, Truncated},
		{"delete all", sql("DELETE FROM audit"), 10, Truncated},
		{"delete one and close the gap", sql("DELETE FROM audit WHERE seq = 7", "UPDATE audit SET seq = seq - 1 WHERE seq > 7"), 7, Changed},
		{"swap two", sql("UPDATE audit SET seq = 99 WHERE seq = 7", "UPDATE audit SET seq = 7 WHERE seq = 8", "UPDATE audit SET seq = 8 WHERE seq = 99"), 7, Changed},
		{"swap two but for their hashes", sql(
			"CREATE TEMP TABLE h AS SELECT seq, hash FROM audit", "UPDATE audit SET seq = 99 WHERE seq = 7", "UPDATE audit SET seq = 7 WHERE seq = 8",
			"UPDATE audit SET seq = 8 WHERE seq = 99", "UPDATE audit SET hash = (SELECT hash FROM h WHERE h.seq = audit.seq)",
		), 7, Changed},
		{"insert a copy", sql(shift(8), "INSERT INTO audit SELECT 8, at, actor, session, source, kind, device_id, tunnel_id, target, result, reason, detail, hash FROM audit WHERE seq = 7", settle), 8, Changed},
		{"insert before the first", sql("INSERT INTO audit SELECT 0, at, actor, session, source, kind, device_id, tunnel_id, target, result, reason, detail, hash FROM audit WHERE seq = 1"), 0, Order},
		{"append", sql("INSERT INTO audit SELECT 26, at, actor, session, source, kind, device_id, tunnel_id, target, result, reason, detail, hash FROM audit WHERE seq = 25"), 26, Changed},
		{"renumber the last", sql("UPDATE audit SET seq = 99 WHERE seq = 25"), 25, Missing},
		{"renumber all", sql(shift(1), settle), 1, Missing},
		{"cut the end off", sql("DELETE FROM audit WHERE seq > 12"), 20, Truncated},
		{"cut the end off with its checkpoints", sql("DELETE FROM audit WHERE seq > 12", "DELETE FROM audit_checkpoint WHERE seq > 12"), 20, Truncated},
		{"cut everything off", sql("DELETE FROM audit", "DELETE FROM audit_checkpoint"), 10, Truncated},
		{"compute all hashes anew", rewrite("UPDATE audit SET detail = 'x' WHERE seq = 7"), 10, Rewritten},
		{"compute the later hashes anew", rewrite("UPDATE audit SET detail = 'x' WHERE seq = 14"), 20, Rewritten},
		{"compute all hashes anew and delete the checkpoints", rewrite("UPDATE audit SET detail = 'x' WHERE seq = 7", "DELETE FROM audit_checkpoint"), 10, Rewritten},
		{"delete one and compute all hashes anew", rewrite("DELETE FROM audit WHERE seq = 7", "UPDATE audit SET seq = seq - 1 WHERE seq > 7"), 10, Rewritten},
		{"change a checkpoint's hash", flipBit("audit_checkpoint", "hash", 10), 10, Signature},
		{"change a checkpoint's time", sql("UPDATE audit_checkpoint SET at = at - 1 WHERE seq = 20"), 20, Signature},
		{"change a checkpoint's number", sql("UPDATE audit_checkpoint SET seq = 9 WHERE seq = 10"), 9, Signature},
		{"change a checkpoint's number to one that cannot be", sql("UPDATE audit_checkpoint SET seq = -1 WHERE seq = 10"), -1, Signature},
		{"change a checkpoint's signature", flipBit("audit_checkpoint", "signature", 10), 10, Signature},
		{"cut a checkpoint's signature", sql("UPDATE audit_checkpoint SET signature = x'' WHERE seq = 10"), 10, Signature},
		{"change a checkpoint's key", flipBit("audit_checkpoint", "key", 10), 10, Signature},
		{"cut a checkpoint's key", sql("UPDATE audit_checkpoint SET key = x'00' WHERE seq = 10"), 10, Signature},
		{"change a checkpoint's vouch", flipBit("audit_checkpoint", "vouch", 10), 10, Key},
		{"sign with another key, with the old vouch", resign(func(t *testing.T, s scene) authority {
			t.Helper()
			a := newAuthority(t)
			a.vouch = s.vouch
			return a
		}), 10, Key},
		{"sign with a key that another identity vouches for", resign(func(t *testing.T, _ scene) authority {
			t.Helper()
			return newAuthority(t)
		}), 10, Key},
		{"put an older database in its place", func(t *testing.T, s scene) {
			t.Helper()
			copyFile(t, s.path("older.db"), s.path("borealis.db"))
		}, 20, Truncated},
		{"put an older database in its place and go on", func(t *testing.T, s scene) {
			t.Helper()
			copyFile(t, s.path("older.db"), s.path("borealis.db"))
			db := openStore(t, s.path("borealis.db"))
			add(t, db, 50, 70)
			db.Close()
		}, 20, Rewritten},
		{"change the checkpoint file", func(t *testing.T, s scene) {
			t.Helper()
			editFile(t, s.path("checkpoints.jsonl"), `"seq":20`, `"seq":21`)
		}, 21, Signature},
		{"damage the checkpoint file", func(t *testing.T, s scene) {
			t.Helper()
			editFile(t, s.path("checkpoints.jsonl"), `"seq":20`, `"Seq":20`)
		}, 10, Unreadable},
	}...)

	whole := newScene(t)
	for _, test := range all {
		t.Run(strings.ReplaceAll(test.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			s := whole.copy(t)
			test.do(t, s)
			report := s.verify(t, "checkpoints.jsonl")
			if report.Fault == nil {
				t.Fatalf("nothing was found: %s", report)
			}
			if report.Fault.Seq != test.seq || report.Fault.What != test.what || report.OK() {
				t.Errorf("found %+v, want %q at %d", report.Fault, test.what, test.seq)
			}
			if !strings.Contains(report.String(), report.Fault.Meaning) || report.Fault.Meaning == "" {
				t.Errorf("says %q", report)
			}
		})
	}
}

// What nobody touched passes, and the report says what is proven and what is not.
func TestUntouchedTrailPasses(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	report := s.verify(t, "checkpoints.jsonl")
	if !report.OK() || report.Records != 25 || report.Last != 25 || report.Checkpoints != 2 || report.Covered != 20 || report.Uncovered != 5 || !report.Vouched || report.Note != "" {
		t.Errorf("%+v", report)
	}
	for _, part := range []string{"All 25 records are as they were written.", "2 signed checkpoints are met", "up to record 20", "5 later records are not signed yet"} {
		if !strings.Contains(report.String(), part) {
			t.Errorf("%q is not in %q", part, report)
		}
	}
	if again := s.copy(t).verify(t, "nowhere.jsonl"); !again.OK() || !strings.Contains(again.String(), "does not exist") {
		t.Errorf("without the file: %s", again)
	}
}

// The file is what finds a database that was cut with its checkpoints: without it the
// same database passes.
func TestCutIsFoundThroughTheFileOnly(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	sql("DELETE FROM audit WHERE seq > 12", "DELETE FROM audit_checkpoint WHERE seq > 12")(t, s)
	if report := s.verify(t); !report.OK() || report.Records != 12 {
		t.Errorf("without the file: %s", report)
	}
	if report := s.verify(t, "checkpoints.jsonl"); report.OK() {
		t.Errorf("with the file: %s", report)
	}
}

// What was written after the last checkpoint is not covered, and nobody claims it is.
func TestUncoveredEnd(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	sql("DELETE FROM audit WHERE seq > 22")(t, s)
	if report := s.verify(t, "checkpoints.jsonl"); !report.OK() || report.Uncovered != 2 {
		t.Errorf("%+v", report)
	}
}

// settle brings the numbers back that shift moved out of the way.
const settle = "UPDATE audit SET seq = seq - 999 WHERE seq > 1000"

// shift makes room for a record.
func shift(seq int) string {
	return fmt.Sprintf("UPDATE audit SET seq = seq + 1000 WHERE seq >= %d", seq)
}

// flipBit changes one bit of a value.
func flipBit(table, column string, seq int) func(*testing.T, scene) {
	return func(t *testing.T, s scene) {
		t.Helper()
		s.tamper(t, func(conn *sqlite.Conn) {
			digits := ""
			query(t, conn, fmt.Sprintf("SELECT hex(%s) FROM %s WHERE seq = %d", column, table, seq), func(stmt *sqlite.Stmt) { digits = stmt.ColumnText(0) })
			flipped := []byte(digits)
			flipped[len(flipped)-1] = "1032547698BADCFE"[strings.IndexByte("0123456789ABCDEF", flipped[len(flipped)-1])]
			do(t, conn, fmt.Sprintf("UPDATE %s SET %s = x'%s' WHERE seq = %d", table, column, flipped, seq))
		})
	}
}

// rewrite changes something and makes the chain fit again.
func rewrite(statements ...string) func(*testing.T, scene) {
	return func(t *testing.T, s scene) {
		t.Helper()
		s.tamper(t, func(conn *sqlite.Conn) {
			do(t, conn, statements...)
			rehash(t, conn)
		})
	}
}

// resign is rewrite by somebody who makes checkpoints of their own, in the database
// and in the file.
func resign(as func(*testing.T, scene) authority) func(*testing.T, scene) {
	return func(t *testing.T, s scene) {
		t.Helper()
		rewrite("UPDATE audit SET detail = 'x' WHERE seq = 7", "DELETE FROM audit_checkpoint")(t, s)
		if err := os.Remove(s.path("checkpoints.jsonl")); err != nil {
			t.Fatal(err)
		}
		db := openStore(t, s.path("borealis.db"))
		thief := as(t, s)
		for _, seq := range []int64{10, 20} {
			found, err := batch(t.Context(), db, seq-1, 1)
			if err != nil {
				t.Fatal(err)
			}
			c := sign(thief.key, thief.vouch, seq, found[0].Hash, noon)
			if err := db.AddCheckpoint(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if err := appendCheckpoint(s.path("checkpoints.jsonl"), c); err != nil {
				t.Fatal(err)
			}
		}
		db.Close()
	}
}

// query runs a statement on a raw connection.
func query(t *testing.T, conn *sqlite.Conn, statement string, row func(*sqlite.Stmt)) {
	t.Helper()
	stmt, _, err := conn.PrepareTransient(statement)
	if err != nil {
		t.Fatal(err)
	}
	defer stmt.Finalize()
	for {
		more, err := stmt.Step()
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return
		}
		row(stmt)
	}
}

// editFile replaces a text in a file.
func editFile(t *testing.T, path, old, text string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		t.Fatalf("%s is not in %s", old, path)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(data), old, text, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}
