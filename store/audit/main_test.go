package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"borealis/store"

	"go.uber.org/goleak"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout bounds whatever a test waits for.
const testTimeout = 30 * time.Second

// noon is the moment at which most records are made.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC)

// hostile is what somebody may have called a machine or themselves.
const hostile = "=cmd|' /C calc'!A0 \"]\\ \r\n\t\x1b[2J <script>\u202eøß漢\u2028 \x7f"

// bounded is a context that ends before the test is given up.
func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// openStore opens the database at path and closes it at the end of the test.
func openStore(t testing.TB, path string) *store.Store {
	t.Helper()
	db, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// newStore is an empty store, and its directory.
func newStore(t testing.TB) (db *store.Store, dir string) {
	t.Helper()
	dir = t.TempDir()
	return openStore(t, filepath.Join(dir, "borealis.db")), dir
}

// sample is the n-th of many records that differ.
func sample(n int) store.Record {
	r := store.Record{
		At: noon.Add(time.Duration(n) * time.Second), Actor: "nora", Session: "0199f1c2", Source: "203.0.113.24", Kind: "tunnel_requested",
		DeviceID: fmt.Sprintf("device-%d", n%7), TunnelID: fmt.Sprintf("tunnel-%d", n), Target: "FIN-LT-0142", Detail: fmt.Sprintf("number %d", n),
	}
	switch n % 5 {
	case 1:
		r = store.Record{At: r.At, Kind: "agent_online", DeviceID: r.DeviceID}
	case 2:
		r.Kind, r.Result, r.Reason, r.Detail = "sign_in_failed", store.Refused, "wrong_password", hostile
	case 3:
		r.Result, r.Actor = store.Failed, hostile
	}
	return r
}

// add records samples first to last.
func add(t testing.TB, db *store.Store, first, last int) {
	t.Helper()
	for n := first; n <= last; n++ {
		if err := db.AddRecord(t.Context(), sample(n)); err != nil {
			t.Fatal(err)
		}
	}
}

// An authority is an engine's identity with its audit key.
type authority struct {
	identity ed25519.PublicKey
	key      ed25519.PrivateKey
	vouch    []byte
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	public, identity, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	audited, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return authority{identity: public, key: key, vouch: ed25519.Sign(identity, audited)}
}

// vouched is [Options.Vouched] of the authority.
func (a authority) vouched(key ed25519.PublicKey, vouch []byte) error {
	if !ed25519.Verify(a.identity, key, vouch) {
		return errors.New("the identity did not sign it")
	}
	return nil
}

// signer is a signer that keeps a file beside the database.
func (a authority) signer(t testing.TB, db *store.Store, dir string, change ...func(*Config)) *Signer {
	t.Helper()
	c := Config{Store: db, Key: a.key, Vouch: a.vouch, File: filepath.Join(dir, "checkpoints.jsonl")}
	for _, f := range change {
		f(&c)
	}
	s, err := NewSigner(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// signNow makes a checkpoint of what is there.
func signNow(t testing.TB, s *Signer) {
	t.Helper()
	s.begin(t.Context())
	if !s.sign(t.Context()) {
		t.Fatal("no checkpoint was made")
	}
}

// raw opens a database without the store, as somebody does who has the file, and
// takes away what keeps the trail from being changed.
func raw(t testing.TB, path string) *sqlite.Conn {
	t.Helper()
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	do(t, conn, "PRAGMA foreign_keys = OFF", "PRAGMA ignore_check_constraints = ON")
	var triggers []string
	err = sqlitex.ExecuteTransient(conn, "SELECT name FROM sqlite_schema WHERE type = 'trigger'", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			triggers = append(triggers, stmt.ColumnText(0))
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range triggers {
		do(t, conn, "DROP TRIGGER "+name)
	}
	return conn
}

// do runs statements on a raw connection.
func do(t testing.TB, conn *sqlite.Conn, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if err := sqlitex.ExecuteTransient(conn, statement, nil); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// rehash computes the chain anew, as somebody does who has no key.
func rehash(t testing.TB, conn *sqlite.Conn) {
	t.Helper()
	var all []store.Record
	err := sqlitex.ExecuteTransient(conn, "SELECT * FROM audit ORDER BY seq", &sqlitex.ExecOptions{ResultFunc: func(stmt *sqlite.Stmt) error {
		all = append(all, store.Record{
			Seq: stmt.GetInt64("seq"), At: time.Unix(0, stmt.GetInt64("at")), Actor: stmt.GetText("actor"), Session: stmt.GetText("session"),
			Source: stmt.GetText("source"), Kind: stmt.GetText("kind"), DeviceID: stmt.GetText("device_id"), TunnelID: stmt.GetText("tunnel_id"),
			Target: stmt.GetText("target"), Result: stmt.GetText("result"), Reason: stmt.GetText("reason"), Detail: stmt.GetText("detail"),
		})
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	var prev [32]byte
	for _, r := range all {
		prev = r.Digest(prev)
		do(t, conn, fmt.Sprintf("UPDATE audit SET hash = x'%x' WHERE seq = %d", prev, r.Seq))
	}
}

// copyFile copies a file that nobody has open.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
