package store

import (
	"context"
	"errors"
	"slices"
	"sync"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// mostTogether is how many writes share one transaction at most: each takes about 0.1 ms, and the
// commit at their end several times that.
const mostTogether = 256

// A change is a write that waits for its turn.
type change struct {
	make func(*sqlite.Conn) error
	done chan struct{} // closed when it was made or not, which err says
	err  error
}

// A queue has the changes that wait, in the order in which they came. It is safe for concurrent use.
type queue struct {
	mu  sync.Mutex
	all []*change
}

// errRolledBack is what became of a write that shared a transaction with one that took it all back.
var errRolledBack = errors.New("the transaction was rolled back")

// write calls fn inside a transaction on the only writing connection, and returns nil when that is
// committed. Those who wait at one moment share a transaction, in the order in which they came, so
// that ten thousand of them do not wait for as many syncs of the disk; each has a savepoint of its own in it,
// and what one cannot do takes nothing away from the others. The end of ctx is noticed while the
// call waits for its turn; once the transaction has begun it is finished, so that an error from here always
// means that nothing has changed; but for ErrFailed, when only the next Open can tell.
func (s *Store) write(ctx context.Context, fn func(*sqlite.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &change{make: fn, done: make(chan struct{})}
	s.waiting.add(c)
	for {
		select {
		case <-c.done:
			return explain(ctx, c.err)
		case conn := <-s.writer:
			err := s.writeTogether(ctx, conn)
			if err != nil && s.waiting.remove(c) { // no transaction could begin
				return explain(ctx, err)
			}
		case <-s.closed:
			if s.waiting.remove(c) {
				return ErrClosed
			}
			<-c.done
		case <-ctx.Done():
			if s.waiting.remove(c) {
				return ctx.Err()
			}
			<-c.done
		}
	}
}

// writeTogether makes the changes that wait, in one transaction, with the writing connection, which
// it puts back. An error means that none could begin.
func (s *Store) writeTogether(ctx context.Context, conn *sqlite.Conn) error {
	defer func() { s.writer <- conn }()
	if s.waiting.empty() {
		return nil // somebody else has made them all
	}
	if err := s.Err(); err != nil {
		return err
	}
	end, err := begin(ctx, conn)
	if err != nil {
		return s.suspect(err)
	}
	all := s.waiting.take(mostTogether)
	made := make([]error, len(all))
	err = errRolledBack // as long as nothing else is known, should one of them panic
	defer func() {
		failed := s.suspect(err)
		for i, c := range all {
			if c.err = made[i]; failed != nil {
				c.err = failed
			}
			close(c.done)
		}
	}()
	defer end(&err)
	err = makeAll(conn, all, made)
	return nil
}

// makeAll makes changes, and notes what became of each. An error means that the whole transaction has
// to be taken back, or was.
func makeAll(conn *sqlite.Conn, all []*change, made []error) error {
	if len(all) == 1 {
		return all[0].make(conn)
	}
	for i, c := range all {
		made[i] = inSavepoint(conn, c.make)
		if fatal(made[i]) || conn.AutocommitEnabled() { // SQLite may take everything back, as on a full disk
			return made[i]
		}
	}
	return nil
}

// inSavepoint calls fn, and takes back what it did when it fails.
func inSavepoint(conn *sqlite.Conn, fn func(*sqlite.Conn) error) (err error) {
	defer sqlitex.Save(conn)(&err)
	return fn(conn)
}

// add lets a change wait.
func (q *queue) add(c *change) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = append(q.all, c)
}

// remove takes a change away that waits, and reports false when it does not any more.
func (q *queue) remove(c *change) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.all, c)
	if i < 0 {
		return false
	}
	q.all = slices.Delete(q.all, i, i+1)
	return true
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.all) == 0
}

// take takes the first n of those that wait.
func (q *queue) take(n int) []*change {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, len(q.all))
	all := slices.Clone(q.all[:n])
	q.all = slices.Delete(q.all, 0, n)
	return all
}
