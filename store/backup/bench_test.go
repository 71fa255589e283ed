package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// BenchmarkBackup makes backups of a database of 100 MB.
func BenchmarkBackup(b *testing.B) {
	r := newRig(b)
	conn, err := sqlite.OpenConn(filepath.Join(r.root, databasePath), sqlite.OpenReadWrite)
	if err != nil {
		b.Fatal(err)
	}
	const rows = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000)
		INSERT INTO setting (key, value) SELECT 'k' || i, hex(randomblob(1950)) FROM n`
	if err := sqlitex.ExecuteTransient(conn, rows, nil); err != nil {
		b.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		b.Fatal(err)
	}
	r.add(b, 2000)
	var size int64
	for i := 0; b.Loop(); i++ {
		path := filepath.Join(r.dir, fmt.Sprint(i))
		m, err := Make(b.Context(), r.config(), path)
		if err != nil {
			b.Fatal(err)
		}
		size = m.Size
		os.Remove(path)
	}
	b.ReportMetric(float64(size)/1e6, "MB")
	b.SetBytes(size)
}
