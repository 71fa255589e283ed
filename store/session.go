package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
)

// How an operator signed in.
const (
	ByPassword = "password"
	ByPasskey  = "passkey"
	ByOIDC     = "oidc"
)

// Session is an operator's sign-in from one browser. Its cookie's value is not
// stored, only the SHA-256 of it.
type Session struct {
	ID         string // UUIDv7
	OperatorID string
	Method     string // [ByPassword], [ByPasskey] or [ByOIDC]; empty is ByPassword
	CreatedAt  time.Time
	SeenAt     time.Time // when it was last used
	ExpiresAt  time.Time // when it ends however much it is used
	VerifiedAt time.Time // when a second factor was last proven; zero: never
	ShellAt    time.Time // when such a proof was last spent on a shell; zero: never
	RemoteAddr string
	UserAgent  string
}

// AddSession stores v under the SHA-256 of its cookie, with the record signed_in,
// and returns it as stored: an empty ID is made, a zero CreatedAt is now, a zero
// SeenAt is CreatedAt. The error is [ErrNotFound] when there is no such operator.
func (s *Store) AddSession(ctx context.Context, hash [32]byte, v Session, did Record) (Session, error) {
	v.ID, v.CreatedAt = fill(v.ID, v.CreatedAt)
	if v.SeenAt.IsZero() {
		v.SeenAt = v.CreatedAt
	}
	if v.Method == "" {
		v.Method = ByPassword
	}
	v.SeenAt, v.ExpiresAt, v.VerifiedAt, v.ShellAt = utc(v.SeenAt), utc(v.ExpiresAt), utc(v.VerifiedAt), utc(v.ShellAt)
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		o, err := queryOne(conn, "operator_get", named{":id": v.OperatorID}, operatorRow)
		if err != nil {
			return err
		}
		err = run(conn, "session_add", named{
			":id":          v.ID,
			":token_hash":  hash[:],
			":operator_id": v.OperatorID,
			":method":      v.Method,
			":created_at":  nanos(v.CreatedAt),
			":seen_at":     nanos(v.SeenAt),
			":expires_at":  nanos(v.ExpiresAt),
			":verified_at": optional(v.VerifiedAt),
			":shell_at":    optional(v.ShellAt),
			":remote_addr": v.RemoteAddr,
			":user_agent":  v.UserAgent,
		})
		if err != nil {
			return err
		}
		return record(conn, did.otherwise(Record{
			At: v.CreatedAt, Kind: signedIn, Actor: o.Name, Session: v.ID, Source: v.RemoteAddr, Target: o.Name, Detail: "with " + v.Method,
		}))
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

// Sessions returns an operator's sessions, or everybody's when operatorID is empty,
// newest first. Sessions that are over may be among them.
func (s *Store) Sessions(ctx context.Context, operatorID string) ([]Session, error) {
	all, err := readAll(ctx, s, "session_list", named{":operator_id": operatorID}, sessionRow)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return all, nil
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

// VerifySession notes that a second factor was proven in a session, with the record
// second_factor_verified, and that the SHA-256 of its cookie is newHash from now on:
// whoever had the cookie before has not proven anything. A zero at is now. The error
// is [ErrNotFound] when the session has ended.
func (s *Store) VerifySession(ctx context.Context, id string, newHash [32]byte, at time.Time, did Record) error {
	at = orNow(at)
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		err := runOne(conn, "session_verify", named{":id": id, ":token_hash": newHash[:], ":verified_at": nanos(at)})
		if err != nil {
			return err
		}
		o, err := queryOne(conn, "operator_by_session", named{":id": id}, operatorRow)
		if err != nil {
			return err
		}
		return record(conn, did.otherwise(Record{At: at, Kind: factorVerified, Actor: o.Name, Session: id, Target: o.Name}))
	})
	if err != nil {
		return fmt.Errorf("verify session %s: %w", id, err)
	}
	return nil
}

// SpendVerification uses up that a second factor was proven in a session. It returns
// nil to exactly one caller for each proof, and [ErrNotVerified] to all others, when
// the proof is older than notBefore, and for a session that has ended.
func (s *Store) SpendVerification(ctx context.Context, id string, notBefore time.Time) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		err := runOne(conn, "session_spend", named{":id": id, ":not_before": nanos(notBefore), ":now": nanos(time.Now())})
		if errors.Is(err, errNoChange) {
			err = ErrNotVerified
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("spend the verification of session %s: %w", id, err)
	}
	return nil
}

// DeleteSession ends a session, with the record did, or without one when did has no
// kind: it expired. One that has ended already is no error and records nothing.
func (s *Store) DeleteSession(ctx context.Context, id string, did Record) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		o, err := queryOne(conn, "operator_by_session", named{":id": id}, operatorRow)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := runOne(conn, "session_delete", named{":id": id}); err != nil || did.Kind == "" {
			return err
		}
		return record(conn, did.otherwise(Record{Target: o.Name, Detail: "session " + id}))
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
		Method:     stmt.GetText("method"),
		CreatedAt:  instant(stmt, "created_at"),
		SeenAt:     instant(stmt, "seen_at"),
		ExpiresAt:  instant(stmt, "expires_at"),
		VerifiedAt: instant(stmt, "verified_at"),
		ShellAt:    instant(stmt, "shell_at"),
		RemoteAddr: stmt.GetText("remote_addr"),
		UserAgent:  stmt.GetText("user_agent"),
	}, nil
}
