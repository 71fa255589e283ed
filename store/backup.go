package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Backup writes a copy of the whole database, as it is at one moment, to a new file at path
// that only its owner reads. It works on a connection of its own while others read and
// write, and makes nobody wait. It is one step: a copy in several begins anew whenever
// somebody else writes, and may never end. After an error there is no file. The copy is not
// synced to the disk: that is for whoever is going to keep it.
func (s *Store) Backup(ctx context.Context, path string) error {
	err := s.usable(ctx)
	if err == nil {
		err = copyInto(ctx, s.file, path)
	}
	if err != nil {
		return fmt.Errorf("copy the database to %s: %w", path, explain(ctx, err))
	}
	return nil
}

// copyInto makes a copy of the database at from, with what was committed, in a new file.
func copyInto(ctx context.Context, from, to string) (err error) {
	f, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) // SQLite takes an empty file as it is
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(to)
		}
	}()
	conn, err := sqlite.OpenConn(from, sqlite.OpenReadOnly)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	conn.SetInterrupt(ctx.Done())
	return retry(ctx, func() error {
		if err := configure(conn); err != nil {
			return err
		}
		if err := sqlitex.ExecuteTransient(conn, "PRAGMA synchronous = OFF", nil); err != nil { // of the copy
			return err
		}
		return sqlitex.ExecuteTransient(conn, "VACUUM INTO :path", &sqlitex.ExecOptions{Named: named{":path": to}})
	})
}

// syncFile makes sure that a file is on the disk.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Schema is the number of migrations that this program knows: the newest schema version
// that it can open.
func Schema() (int, error) {
	steps, err := migrations()
	return len(steps), err
}

// SchemaVersion is how many migrations the open database has had.
func (s *Store) SchemaVersion(ctx context.Context) (int, error) {
	known, err := Schema()
	if err != nil {
		return 0, err
	}
	var version int
	err = s.read(ctx, func(conn *sqlite.Conn) (err error) {
		defer sqlitex.Transaction(conn)(&err)
		version, err = schemaVersion(conn, known)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("schema version: %w", err)
	}
	return version, nil
}

// keepBefore keeps a copy of the database beside it before its schema is changed from a
// version, and then only that one: without it the way back to the program before is closed.
func keepBefore(ctx context.Context, path string, version int) error {
	kept := fmt.Sprintf("%s.before-%03d", path, version)
	fresh := kept + ".tmp"
	os.Remove(fresh) // of a process that was killed
	err := copyInto(ctx, path, fresh)
	if err == nil {
		err = syncFile(fresh)
	}
	if err == nil {
		err = os.Rename(fresh, kept)
	}
	if err != nil {
		os.Remove(fresh)
		return fmt.Errorf("keep a copy before the schema changes: %w; nothing was changed", explain(ctx, err))
	}
	older, err := os.ReadDir(filepath.Dir(path))
	for _, e := range older {
		if strings.HasPrefix(e.Name(), filepath.Base(path)+".before-") && e.Name() != filepath.Base(kept) {
			os.Remove(filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	return err
}
