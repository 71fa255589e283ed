package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// rows runs a query on a raw connection.
func rows(t testing.TB, conn *sqlite.Conn, query string, row func(*sqlite.Stmt)) {
	t.Helper()
	err := sqlitex.ExecuteTransient(conn, query, &sqlitex.ExecOptions{ResultFunc: func(stmt *sqlite.Stmt) error {
		row(stmt)
		return nil
	}})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// closedFile makes a database with some content and returns its path, closed.
func closedFile(t *testing.T, change ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "borealis.db")
	s := openAt(t, path)
	addDevices(t, s, 50)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	do(t, conn, change...)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	other := filepath.Join(t.TempDir(), "other.db")
	conn, err := sqlite.OpenConn(other, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	do(t, conn, "CREATE TABLE device (id INTEGER)")
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		damage     func(b []byte) []byte
		want       error
		text       []string
	}{
		{"newer", closedFile(t, "PRAGMA user_version = 99"), nil, ErrNewer, []string{"schema version 99", "up to 4"}},
		{"next", closedFile(t, "PRAGMA user_version = 5"), nil, ErrNewer, []string{"schema version 5", "up to 4"}},
		{"newer and unknown", closedFile(t, "PRAGMA user_version = 99", "DROP TABLE setting"), nil, ErrNewer, nil},
		{"another program's", other, nil, ErrForeign, nil},
		{"another program's id", closedFile(t, "PRAGMA application_id = 7"), nil, ErrForeign, nil},
		{"negative version", closedFile(t, "PRAGMA user_version = -1"), nil, ErrForeign, nil},
		{"text", closedFile(t), func([]byte) []byte { return []byte(strings.Repeat("not a database\n", 100)) }, ErrDamaged, nil},
		{"header overwritten", closedFile(t), func(b []byte) []byte { copy(b, make([]byte, 16)); return b }, ErrDamaged, nil},
		{"cut off", closedFile(t), func(b []byte) []byte { return b[:len(b)/2] }, ErrDamaged, nil},
		{"pages overwritten", closedFile(t), func(b []byte) []byte {
			for i := 2 * 4096; i < len(b); i += 4096 {
				copy(b[i:], bytes.Repeat([]byte{0xa5}, 200))
			}
			return b
		}, ErrDamaged, []string{"restore a backup"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			before, err := os.ReadFile(test.path)
			if err != nil {
				t.Fatal(err)
			}
			if test.damage != nil {
				before = test.damage(before)
				if err := os.WriteFile(test.path, before, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, err := Open(t.Context(), test.path)
			if err == nil {
				t.Fatal("it was opened", s.Close())
			}
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			for _, text := range append(test.text, test.path) {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("error %q does not say %q", err, text)
				}
			}
			after, err := os.ReadFile(test.path)
			if err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

// TestOpenAfterCrash opens what a killed process leaves: the last changes are in
// the write-ahead log only.
func TestOpenAfterCrash(t *testing.T) {
	t.Parallel()
	for _, newer := range []bool{false, true} {
		t.Run(fmt.Sprintf("newer=%v", newer), func(t *testing.T) {
			t.Parallel()
			s := openTest(t)
			devices := addDevices(t, s, 20)
			if newer {
				do(t, openRaw(t, s.path(t)), "PRAGMA user_version = 99")
			}
			path := filepath.Join(t.TempDir(), "borealis.db")
			for _, suffix := range []string{"", "-wal"} {
				b, err := os.ReadFile(s.path(t) + suffix)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path+suffix, b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if newer {
				opened, err := Open(t.Context(), path)
				if !errors.Is(err, ErrNewer) {
					t.Fatalf("opened %v, error %v, want ErrNewer", opened, err)
				}
				if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
					t.Errorf("the file was changed (%v)", err)
				}
				return
			}
			crashed := openAt(t, path)
			got, total, err := crashed.Devices(t.Context(), DeviceQuery{Scope: everything})
			if err != nil || total != len(devices) || !slices.ContainsFunc(got, func(d Device) bool { return d == devices[19] }) {
				t.Errorf("%d devices, %v, want %d", total, err, len(devices))
			}
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	addOperator(t, s, "ada")
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("a sound database: %v", err)
	}
	conn := openRaw(t, s.path(t))
	do(t, conn, "PRAGMA foreign_keys = OFF", "INSERT INTO session VALUES ('i', zeroblob(32), 'nobody', 1, 1, 1, '', '', 'oidc', NULL, NULL)")
	if err := s.Check(t.Context()); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "session") {
		t.Errorf("a row that refers to nothing: error %v, want ErrDamaged", err)
	}
	do(t, conn, "DELETE FROM session", "PRAGMA writable_schema = ON",
		"UPDATE sqlite_schema SET sql = replace(sql, 'role          TEXT    NOT NULL', 'role          INTEGER NOT NULL') WHERE name = 'operator'")
	if s, err := Open(t.Context(), s.path(t)); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "operator.role") {
		t.Errorf("a value of the wrong type: opened %v, error %v, want ErrDamaged", s, err)
	}
}

func TestSQLiteVersion(t *testing.T) {
	t.Parallel()
	for version, good := range map[string]bool{
		"3.51.3": true, "3.51.4": true, "3.51.10": true, "3.52.0": true, "3.100.0": true, "4.0.0": true, sqlite.Version: true,
		"3.51.2": false, "3.50.9": false, "3.9.9": false, "2.99.99": false, "": false, "3.51": false, "new": false,
	} {
		if err := checkVersion(version); (err == nil) != good {
			t.Errorf("version %q: error %v, want good %v", version, err, good)
		}
	}
	conn := openRaw(t, openTest(t).path(t))
	if err := assertSQLite(conn); err != nil {
		t.Error(err)
	}
	got, err := queryOne(conn, "sqlite_version", nil, func(stmt *sqlite.Stmt) (string, error) { return stmt.GetText("version"), nil })
	if err != nil || got != sqlite.Version {
		t.Errorf("the library says %q, %v, its package %q", got, err, sqlite.Version)
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	open := func(t *testing.T) *sqlite.Conn {
		conn, err := sqlite.OpenConn(filepath.Join(t.TempDir(), "a.db"), sqlite.OpenReadWrite|sqlite.OpenCreate|sqlite.OpenWAL)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
		return conn
	}
	schema := func(conn *sqlite.Conn) string {
		var names []string
		rows(t, conn, "SELECT name FROM sqlite_schema ORDER BY name", func(stmt *sqlite.Stmt) {
			names = append(names, stmt.ColumnText(0))
		})
		version, err := pragmaText(conn, "user_version")
		if err != nil {
			t.Fatal(err)
		}
		id, err := pragmaText(conn, "application_id")
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(strings.Join(names, " "), " version ", version, " ours ", id == fmt.Sprint(applicationID))
	}
	steps := []migration{
		{script: "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1);"},
		{script: "CREATE TABLE b (x INTEGER) STRICT;", after: func(conn *sqlite.Conn) error {
			return sqlitex.ExecuteTransient(conn, "INSERT INTO b SELECT x + 1 FROM a", nil)
		}},
		{script: "-- something about the data\nUPDATE a SET x = 7;\n"},
	}
	t.Run("step by step", func(t *testing.T) {
		t.Parallel()
		conn := open(t)
		for n, want := range []string{" version 0 ours true", "a version 1 ours true", "a b version 2 ours true", "a b version 3 ours true"} {
			if n == 0 {
				continue
			}
			for range 2 { // the second time there is nothing to do
				if err := migrate(ctx, conn, steps[:n], keepNothing); err != nil {
					t.Fatal(err)
				}
				if got := schema(conn); got != want {
					t.Errorf("after %d: %q, want %q", n, got, want)
				}
			}
		}
		rows(t, conn, "SELECT count(*), sum(x) FROM b", func(stmt *sqlite.Stmt) {
			if stmt.ColumnText(0) != "1" || stmt.ColumnText(1) != "2" {
				t.Error("a script ran twice")
			}
		})
		if err := migrate(ctx, conn, steps[:1], keepNothing); !errors.Is(err, ErrNewer) {
			t.Errorf("back to 1: error %v, want ErrNewer", err)
		}
	})
	t.Run("all or nothing", func(t *testing.T) {
		t.Parallel()
		conn := open(t)
		if err := migrate(ctx, conn, steps[:1], keepNothing); err != nil {
			t.Fatal(err)
		}
		failing := migration{script: "CREATE TABLE c (x)", after: func(*sqlite.Conn) error { return errors.New("no luck") }}
		for _, bad := range []migration{
			{script: "CREATE TABLE c (x); CREATE TABLE b (x)"}, {script: "SELEC 1"}, {script: "INSERT INTO a VALUES ('text')"}, failing,
		} {
			err := migrate(ctx, conn, []migration{steps[0], steps[1], bad}, keepNothing)
			if err == nil || !strings.Contains(err.Error(), "migration 3") {
				t.Errorf("%s: error %v, want it to name migration 3", bad.script, err)
			}
			if got, want := schema(conn), "a version 1 ours true"; got != want {
				t.Errorf("after %s: %q, want %q", bad.script, got, want)
			}
		}
		if err := migrate(ctx, conn, steps, keepNothing); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestStatements makes sure that each file has one statement, fits the schema and
// is used.
func TestStatements(t *testing.T) {
	t.Parallel()
	conn := openRaw(t, openTest(t).path(t))
	names, err := filepath.Glob("sql/*.sql")
	if err != nil || len(names) < 40 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var code []byte
	for _, source := range sources {
		b, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(source, "_test.go") {
			code = append(code, b...)
		}
	}
	for _, name := range names {
		statement, err := statements.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		stmt, rest, err := conn.PrepareTransient(strings.TrimSpace(string(statement)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if rest != 0 || !bytes.HasSuffix(statement, []byte(";\n")) {
			t.Errorf("%s is not one statement with its semicolon at the end", name)
		}
		if err := stmt.Finalize(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if quoted := fmt.Sprintf("%q", strings.TrimSuffix(filepath.Base(name), ".sql")); !bytes.Contains(code, []byte(quoted)) {
			t.Errorf("%s is not used", name)
		}
	}
}

func TestOpenWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	path := closedFile(t)
	conn := openRaw(t, path)
	do(t, conn, "BEGIN IMMEDIATE")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	s, err := Open(ctx, path)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("opened %v, error %v, want context.DeadlineExceeded", s, err)
	}
	do(t, conn, "ROLLBACK")
	openAt(t, path)
}
