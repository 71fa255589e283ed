package store

import (
	"fmt"

	"zombiezen.com/go/sqlite"
)

// Failed is closed once the database cannot be written any more, and then [Store.Err]
// says why: the disk answered a write or a sync with an error, or the file turned out to be
// damaged. A sync that failed is not tried again, for the kernel may have dropped what it
// was about: every later write answers [ErrFailed], reads go on, and whoever opened the
// store should end soon and open it anew. A full disk and a busy database are not such
// failures: they pass.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err is why the database cannot be written any more; nil as long as it can.
func (s *Store) Err() error {
	select {
	case <-s.failed:
		return s.failure
	default:
		return nil
	}
}

// suspect closes failed when what the writing connection answered means that nothing may be
// written any more. Only for whoever holds that connection.
func (s *Store) suspect(err error) error {
	if !fatal(err) {
		return err
	}
	err = fmt.Errorf("%w: %w", ErrFailed, err)
	s.failure = err
	close(s.failed)
	return err
}

// fatal reports whether an error of the writing connection is one after which it must not
// be used. What SQLite answers on Linux: ENOSPC on a write is FULL, or IOERR_SHMSIZE when
// it hits the index of the log, which is made anew from the log; EIO, EDQUOT, EFBIG and
// EROFS on a write are IOERR_WRITE; a sync that fails is IOERR_FSYNC.
func fatal(err error) bool {
	switch code := sqlite.ErrCode(err); code.ToPrimary() {
	case sqlite.ResultIOErr:
		return code != sqlite.ResultIOErrSHMSize
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return true
	default:
		return false
	}
}
