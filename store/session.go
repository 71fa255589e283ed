package store

import (
	"context"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
)

// Session is an operator's sign-in from one browser. Its cookie's value is not
// stored, only the SHA-256 of it.
type Session struct {
	ID         string // UUIDv7
	OperatorID string
	CreatedAt  time.Time
	SeenAt     time.Time // when it was last used
	ExpiresAt  time.Time // when it ends however much it is used
	RemoteAddr string
	UserAgent  string
}

// AddSession stores v under the SHA-256 of its cookie and returns it as stored:
// an empty ID is made, a zero CreatedAt is now, a zero SeenAt is CreatedAt. The
// error is [ErrNotFound] when there is no such operator.
func (s *Store) AddSession(ctx context.Context, hash [32]byte, v Session) (Session, error) {
	v.ID, v.CreatedAt = fill(v.ID, v.CreatedAt)
	if v.SeenAt.IsZero() {
		v.SeenAt = v.CreatedAt
	}
	v.SeenAt, v.ExpiresAt = utc(v.SeenAt), utc(v.ExpiresAt)
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return run(conn, "session_add", named{
			":id":          v.ID,
			":token_hash":  hash[:],
			":operator_id": v.OperatorID,
			":created_at":  nanos(v.CreatedAt),
			":seen_at":     nanos(v.SeenAt),
			":expires_at":  nanos(v.ExpiresAt),
			":remote_addr": v.RemoteAddr,
			":user_agent":  v.UserAgent,
		})
	})
	if err != nil {
		return Session{}, fmt.Errorf("add session: %w", err)
	}
	return v, nil
}

// SessionByHash returns the session whose cookie has that SHA-256, and its
// operator, or [ErrNotFound]. Whether it has expired is for the caller to judge.
func (s *Store) SessionByHash(ctx context.Context, hash [32]byte) (v Session, o Operator, err error) {
	// Two statements: SQLite would plan a join anew each time.
	err = s.read(ctx, func(conn *sqlite.Conn) error {
		v, err = queryOne(conn, "session_by_hash", named{":token_hash": hash[:]}, sessionRow)
		if err != nil {
			return err
		}
		o, err = queryOne(conn, "operator_get", named{":id": v.OperatorID}, operatorRow)
		return err
	})
	if err != nil {
		return Session{}, Operator{}, fmt.Errorf("session: %w", err)
	}
	return v, o, nil
}

// TouchSession notes that a session was used; an earlier time than the one noted
// changes nothing. The error is [ErrNotFound] when the session has ended.
func (s *Store) TouchSession(ctx context.Context, id string, at time.Time) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return runOne(conn, "session_touch", named{":id": id, ":seen_at": nanos(at)})
	})
	if err != nil {
		return fmt.Errorf("touch session %s: %w", id, err)
	}
	return nil
}

// DeleteSession ends a session. One that has ended already is no error.
func (s *Store) DeleteSession(ctx context.Context, id string) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return run(conn, "session_delete", named{":id": id})
	})
	if err != nil {
		return fmt.Errorf("delete session %s: %w", id, err)
	}
	return nil
}

// DeleteExpiredSessions ends the sessions that were last used before idleBefore
// and those whose ExpiresAt is not after now, and returns how many there were.
func (s *Store) DeleteExpiredSessions(ctx context.Context, idleBefore, now time.Time) (int, error) {
	var n int
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		err := run(conn, "session_delete_expired", named{":idle_before": nanos(idleBefore), ":now": nanos(now)})
		n = conn.Changes()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("delete expired sessions: %w", err)
	}
	return n, nil
}

func sessionRow(stmt *sqlite.Stmt) (Session, error) {
	return Session{
		ID:         stmt.GetText("id"),
		OperatorID: stmt.GetText("operator_id"),
		CreatedAt:  instant(stmt, "created_at"),
		SeenAt:     instant(stmt, "seen_at"),
		ExpiresAt:  instant(stmt, "expires_at"),
		RemoteAddr: stmt.GetText("remote_addr"),
		UserAgent:  stmt.GetText("user_agent"),
	}, nil
}
