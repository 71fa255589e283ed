package store

import (
	"context"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
)

// APIToken lets a program act as an operator. The token's text is not stored,
// only the SHA-256 of it.
type APIToken struct {
	ID         string // UUIDv7
	OperatorID string
	Label      string
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero: never
}

// AddAPIToken stores t under the SHA-256 of its text and returns it as stored: an
// empty ID is made and a zero CreatedAt is now. The error is [ErrNotFound] when
// there is no such operator.
func (s *Store) AddAPIToken(ctx context.Context, hash [32]byte, t APIToken) (APIToken, error) {
	t.ID, t.CreatedAt = fill(t.ID, t.CreatedAt)
	t.ExpiresAt = utc(t.ExpiresAt)
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return run(conn, "api_token_add", named{
			":id":          t.ID,
			":token_hash":  hash[:],
			":operator_id": t.OperatorID,
			":label":       t.Label,
			":created_at":  nanos(t.CreatedAt),
			":expires_at":  optional(t.ExpiresAt),
		})
	})
	if err != nil {
		return APIToken{}, fmt.Errorf("add API token: %w", err)
	}
	return t, nil
}

// APITokenByHash returns the token whose text has that SHA-256, and its operator,
// or [ErrNotFound]. Whether it has expired is for the caller to judge.
func (s *Store) APITokenByHash(ctx context.Context, hash [32]byte) (t APIToken, o Operator, err error) {
	err = s.read(ctx, func(conn *sqlite.Conn) error {
		t, err = queryOne(conn, "api_token_by_hash", named{":token_hash": hash[:]}, apiTokenRow)
		if err != nil {
			return err
		}
		o, err = queryOne(conn, "operator_get", named{":id": t.OperatorID}, operatorRow)
		return err
	})
	if err != nil {
		return APIToken{}, Operator{}, fmt.Errorf("API token: %w", err)
	}
	return t, o, nil
}

func apiTokenRow(stmt *sqlite.Stmt) (APIToken, error) {
	return APIToken{
		ID:         stmt.GetText("id"),
		OperatorID: stmt.GetText("operator_id"),
		Label:      stmt.GetText("label"),
		CreatedAt:  instant(stmt, "created_at"),
		ExpiresAt:  instant(stmt, "expires_at"),
	}, nil
}
