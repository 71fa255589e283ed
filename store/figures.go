package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Figures are how much of some things there is in the database, for those who watch an engine.
type Figures struct {
	Devices  map[string]int // by state; a state without devices is missing
	Records  int64          // lines of the audit chain
	Signed   int64          // of them, that a checkpoint covers
	SignedAt time.Time      // when the last checkpoint was made; zero: never
	BackupAt time.Time      // when the last backup was on record; zero: never
}

// Figures counts in one look at the database. What it costs depends on the number of devices,
// and not on the length of the audit chain.
func (s *Store) Figures(ctx context.Context) (f Figures, err error) {
	f.Devices = make(map[string]int)
	err = s.read(ctx, func(conn *sqlite.Conn) (err error) {
		defer sqlitex.Transaction(conn)(&err) // both statements see the same moment
		_, err1 := query(conn, "device_states", nil, func(stmt *sqlite.Stmt) (struct{}, error) {
			f.Devices[stmt.GetText("state")] = int(stmt.GetInt64("count"))
			return struct{}{}, nil
		})
		_, err2 := query(conn, "figures", nil, func(stmt *sqlite.Stmt) (struct{}, error) {
			f.Records, f.Signed = stmt.GetInt64("records"), stmt.GetInt64("signed")
			f.SignedAt, f.BackupAt = instant(stmt, "signed_at"), instant(stmt, "backup_at")
			return struct{}{}, nil
		})
		return errors.Join(err1, err2)
	})
	if err != nil {
		return Figures{}, fmt.Errorf("read the figures: %w", err)
	}
	return f, nil
}
