package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// noon is the moment at which most tests happen.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC)

// noHash compares records without their hashes, which tests of the chain look at.
var noHash = cmpopts.IgnoreFields(Record{}, "Hash")

// everything is the scope of who may see it.
var everything = Scope{All: true}

// openTest opens a new database that is closed at the end of the test.
func openTest(t testing.TB) *Store {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "borealis.db"))
}

// openAt opens the database at path and closes it at the end of the test.
func openAt(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// openRaw opens the database at path without this package.
func openRaw(t testing.TB, path string) *sqlite.Conn {
	t.Helper()
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
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

// openOld makes a database as the first programs made it, with that many of the
// schema's scripts, and opens it without this package.
func openOld(t testing.TB, version int) (path string, conn *sqlite.Conn) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "borealis.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	conn = openRaw(t, path)
	do(t, conn, "PRAGMA journal_mode = WAL")
	steps, err := migrations()
	if err == nil {
		err = migrate(t.Context(), conn, steps[:version], keepNothing)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path, conn
}

// keepNothing lets a schema change without a copy.
func keepNothing(int) error { return nil }

// do runs statements on a raw connection.
func do(t testing.TB, conn *sqlite.Conn, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if err := sqlitex.ExecuteTransient(conn, statement, nil); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// path is the file of an open store.
func (s *Store) path(t testing.TB) string {
	t.Helper()
	var path string
	err := s.read(t.Context(), func(conn *sqlite.Conn) error {
		return sqlitex.ExecuteTransient(conn, "SELECT file FROM pragma_database_list WHERE name = 'main'", &sqlitex.ExecOptions{
			ResultFunc: func(stmt *sqlite.Stmt) error {
				path = stmt.ColumnText(0)
				return nil
			},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// hash is the hash of a secret.
func hash(secret string) [32]byte { return sha256.Sum256([]byte(secret)) }

// pin is a text that has the form of a pin.
func pin(n int) string { return fmt.Sprintf("%052d", n) }

// addOperator stores an operator.
func addOperator(t testing.TB, s *Store, name string) Operator {
	t.Helper()
	o, err := s.AddOperator(t.Context(), Operator{Name: name, PasswordHash: "$argon2id$x", Role: "admin", CreatedAt: noon}, Record{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// addCode stores an enrolment code with that secret that is good for an hour.
func addCode(t testing.TB, s *Store, secret string, c Code) Code {
	t.Helper()
	c.CreatedAt, c.ExpiresAt = noon, noon.Add(time.Hour)
	c, err := s.AddCode(t.Context(), hash(secret), c, Record{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// addDevices stores n active devices named pc-1 and so on.
func addDevices(t testing.TB, s *Store, n int) []Device {
	t.Helper()
	return enrolMany(t, s, Code{ID: "code", Uses: n, AutoApprove: true, Site: "Berlin", CreatedBy: "ada"}, n)
}

// enrolMany stores n devices as that code does, in one transaction to save time.
func enrolMany(t testing.TB, s *Store, code Code, n int) []Device {
	t.Helper()
	devices := make([]Device, n)
	err := s.write(t.Context(), func(conn *sqlite.Conn) (err error) {
		for i := range devices {
			d := Device{Hostname: fmt.Sprintf("pc-%d", i+1), OS: "windows", Pin: pin(i + 1)}
			if devices[i], err = enrol(conn, code, d, noon, Record{}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return devices
}

// addTunnel stores an open tunnel of a device; its token is called jti-<id>.
func addTunnel(t testing.TB, s *Store, id string, d Device) Tunnel {
	t.Helper()
	v := Tunnel{
		ID: id, DeviceID: d.ID, Operator: "ada", TokenID: "jti-" + id, VirtualIP: d.VirtualIP, State: "requested",
		RequestedAt: noon, Steps: []Step{{Name: "requested", At: noon}},
	}
	if err := s.AddTunnel(t.Context(), v, noon.Add(2*time.Minute), Record{}); err != nil {
		t.Fatal(err)
	}
	return v
}

// kinds are the kinds of all activity, oldest first.
func kinds(t testing.TB, s *Store) string {
	t.Helper()
	all, err := s.Records(context.WithoutCancel(t.Context()), RecordQuery{Scope: everything, Limit: MaxPage})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, a := range all {
		kinds = append([]string{a.Kind}, kinds...)
	}
	return strings.Join(kinds, " ")
}
