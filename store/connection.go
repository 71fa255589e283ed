package store

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// openWriter opens the connection that writes.
func openWriter(ctx context.Context, path string) (*sqlite.Conn, error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	err = retry(ctx, func() error {
		if err := configure(conn); err != nil {
			return err
		}
		return enableWAL(conn)
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// openReaders opens n connections that cannot write.
func openReaders(path string, n int) (*sqlitex.Pool, error) {
	return sqlitex.NewPool(path, sqlitex.PoolOptions{Flags: sqlite.OpenReadOnly, PoolSize: n, PrepareConn: configure})
}

// configure sets what SQLite keeps for each connection and not in the file.
func configure(conn *sqlite.Conn) error {
	conn.SetBusyTimeout(0) // waiting is for retry
	for _, pragma := range []string{
		"synchronous = FULL", // a commit is on the disk before it is acknowledged
		"foreign_keys = ON",
		"trusted_schema = OFF",
		"cell_size_check = ON",
		"journal_size_limit = 16777216", // the log is cut back to this after it grew
	} {
		if err := sqlitex.ExecuteTransient(conn, "PRAGMA "+pragma, nil); err != nil {
			return fmt.Errorf("set %s: %w", pragma, err)
		}
	}
	return nil
}

// enableWAL turns the write-ahead log on, for good.
func enableWAL(conn *sqlite.Conn) error {
	mode, err := pragmaText(conn, "journal_mode = WAL")
	if err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("its file system cannot hold a database with a write-ahead log (journal mode stays %q)", mode)
	}
	return nil
}
