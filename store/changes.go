package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
)

// Changes looks at the database that often, on a connection of its own, and calls
// changed after something was committed to it, by this process or by another one.
// Commits between two looks are one call. The first call comes at once, so that
// nothing is missed that was committed before the first look. Changes returns nil
// when ctx ends, and [ErrClosed] when the store is closed; changed must not close
// the store. A second Changes waits for the end of the first.
func (s *Store) Changes(ctx context.Context, every time.Duration, changed func()) error {
	err := s.usable(ctx)
	if err == nil {
		err = s.changes(ctx, every, changed)
	}
	err = explain(ctx, err)
	if err == nil || errors.Is(err, ctx.Err()) {
		return nil
	}
	return fmt.Errorf("watch the database: %w", err)
}

func (s *Store) changes(ctx context.Context, every time.Duration, changed func()) error {
	conn, err := s.watcher.Take(ctx)
	if err != nil {
		return cmp.Or(s.usable(ctx), err)
	}
	defer s.watcher.Put(conn)
	seen, err := dataVersion(ctx, conn)
	if err != nil {
		return err
	}
	changed()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closed:
			return ErrClosed
		}
		now, err := dataVersion(ctx, conn)
		if err != nil {
			return err
		}
		if now != seen {
			seen = now
			changed()
		}
	}
}

// dataVersion is a number that another connection's commits change.
func dataVersion(ctx context.Context, conn *sqlite.Conn) (version string, err error) {
	err = retry(ctx, func() error {
		version, err = pragmaText(conn, "data_version")
		return err
	})
	return version, err
}
