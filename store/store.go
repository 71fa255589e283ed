package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// readerCount is how many reads go on at a time; more wait for their turn.
const readerCount = 4

// Store is an open database. Its methods may be called concurrently.
type Store struct {
	readers *sqlitex.Pool
	watcher *sqlitex.Pool     // of one connection, for Changes
	writer  chan *sqlite.Conn // holds the writing connection while nobody uses it
	waiting queue             // what is to be written next
	closed  chan struct{}     // closed by Close
	file    string            // absolute path

	failed  chan struct{} // closed when nothing may be written any more
	failure error         // why; valid once failed is closed

	// Below which address all are given, by first and last address of a pool. Only
	// for whoever holds the writing connection.
	searched map[[2]int64]int64

	closeOnce sync.Once
	closeErr  error
}

// Open opens the database at path, makes it when there is none, and brings its
// schema up to date. Before it changes anything it makes sure that the file is
// ours, sound ([ErrForeign], [ErrDamaged]) and not newer than this program
// ([ErrNewer]). Before it changes the schema it keeps a copy beside the file, named
// borealis.db.before-NNN by the version, and changes nothing when it cannot. A missing
// directory is made. The caller closes the store.
func Open(ctx context.Context, path string) (*Store, error) {
	s, err := open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, explain(ctx, err))
	}
	return s, nil
}

func open(ctx context.Context, path string) (*Store, error) {
	steps, err := migrations()
	if err != nil {
		return nil, err
	}
	path, err = prepareFile(path)
	if err != nil {
		return nil, err
	}
	if err := retry(ctx, func() error { return inspect(ctx, path, len(steps)) }); err != nil {
		return nil, err
	}
	writer, err := openWriter(ctx, path)
	if err != nil {
		return nil, err
	}
	keep := func(version int) error { return keepBefore(ctx, path, version) }
	if err := migrate(ctx, writer, steps, keep); err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	readers, err := openReaders(path, readerCount)
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	watcher, err := openReaders(path, 1)
	if err != nil {
		return nil, errors.Join(err, readers.Close(), writer.Close())
	}
	s := &Store{
		readers:  readers,
		watcher:  watcher,
		writer:   make(chan *sqlite.Conn, 1),
		closed:   make(chan struct{}),
		file:     path,
		failed:   make(chan struct{}),
		searched: make(map[[2]int64]int64),
	}
	s.writer <- writer
	return s, nil
}

// Close waits for the write at work, interrupts reads and [Store.Changes], and closes the database.
// Later calls of any method answer [ErrClosed]; a second Close does nothing and
// returns what the first one did.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		close(s.closed)
		writer := <-s.writer
		// The writing connection goes last: only it can fold the log into the file.
		s.closeErr = errors.Join(s.readers.Close(), s.watcher.Close())
		if s.Err() == nil { // else folding would sync again what could not be synced
			s.closeErr = errors.Join(s.closeErr, writer.Close())
		}
		if s.closeErr != nil {
			s.closeErr = fmt.Errorf("close database: %w", s.closeErr)
		}
	})
	return s.closeErr
}

// Check reads the whole database and returns [ErrDamaged], with what is wrong,
// when it is not sound. It takes about two seconds for each gigabyte.
func (s *Store) Check(ctx context.Context) error {
	err := s.read(ctx, func(conn *sqlite.Conn) error {
		return errors.Join(integrity(conn, "integrity_check"), foreignKeys(conn))
	})
	if err != nil {
		return fmt.Errorf("check database: %w", err)
	}
	return nil
}
