package audit

import (
	"bytes"
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"borealis/store"

	"zombiezen.com/go/sqlite"
)

// fillMany makes a database with that many records, in one transaction to save time;
// detail is what all of them say, if it is given.
func fillMany(t testing.TB, n int, detail ...string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "borealis.db")
	db, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	do(t, conn, "BEGIN")
	stmt, err := conn.Prepare("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		t.Fatal(err)
	}
	defer stmt.Finalize()
	var prev [32]byte
	for i := 1; i <= n; i++ {
		r := sample(5 * i)
		r.Seq, r.Result = int64(i), store.Done
		r.Detail = cmp.Or(strings.Join(detail, ""), r.Detail)
		prev = r.Digest(prev)
		stmt.BindInt64(1, r.Seq)
		stmt.BindInt64(2, r.At.UnixNano())
		for column, text := range []string{r.Actor, r.Session, r.Source, r.Kind, r.DeviceID, r.TunnelID, r.Target, r.Result, r.Reason, r.Detail} {
			stmt.BindText(3+column, text)
		}
		stmt.BindBytes(13, prev[:])
		if _, err := stmt.Step(); err != nil {
			t.Fatal(err)
		}
		if err := stmt.Reset(); err != nil {
			t.Fatal(err)
		}
	}
	do(t, conn, "COMMIT")
	return path
}

// BenchmarkVerify checks 100,000 records, with a checkpoint for every 100, in the
// database and in an export.
func BenchmarkVerify(b *testing.B) {
	const records = 100_000
	db := openStore(b, fillMany(b, records))
	a := newAuthority(b)
	var checkpoints []store.Checkpoint
	err := db.EachRecord(b.Context(), 0, func(r store.Record) error {
		if r.Seq%CheckpointRecords == 0 {
			checkpoints = append(checkpoints, sign(a.key, a.vouch, r.Seq, r.Hash, noon))
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	exported := export(b, db, JSONLines, Selection{Query: everything})
	for name, source := range map[string]func() (Source, error){
		"database": func() (Source, error) { return db, nil },
		"export":   func() (Source, error) { return ReadExport(bytes.NewReader(exported)) },
	} {
		b.Run(fmt.Sprintf("%s/%d", name, records), func(b *testing.B) {
			for b.Loop() {
				from, err := source()
				if err != nil {
					b.Fatal(err)
				}
				report, err := Verify(b.Context(), from, Options{Checkpoints: checkpoints, Vouched: a.vouched})
				if err != nil || !report.OK() || report.Records != records || report.Checkpoints != records/CheckpointRecords {
					b.Fatal(report, err)
				}
			}
		})
	}
}
