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

// AddAPIToken stores t under the SHA-256 of its text, with the record token_added,
// and returns it as stored: an empty ID is made and a zero CreatedAt is now. The
// error is [ErrNotFound] when there is no such operator.
func (s *Store) AddAPIToken(ctx context.Context, hash [32]byte, t APIToken, did Record) (APIToken, error) {
	t.ID, t.CreatedAt = fill(t.ID, t.CreatedAt)
	t.ExpiresAt = utc(t.ExpiresAt)
	made := Record{At: t.CreatedAt, Kind: tokenAdded, Detail: t.describe()}
	err := s.change(ctx, t.OperatorID, did, made, func(conn *sqlite.Conn, _ Operator) error {
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

// APITokens returns an operator's API tokens, or everybody's when operatorID is
// empty, newest first. Tokens that have expired are among them.
func (s *Store) APITokens(ctx context.Context, operatorID string) ([]APIToken, error) {
	all, err := readAll(ctx, s, "api_token_list", named{":operator_id": operatorID}, apiTokenRow)
	if err != nil {
		return nil, fmt.Errorf("list API tokens: %w", err)
	}
	return all, nil
}

// DeleteAPIToken takes an API token out of use, with the record token_removed, or
// answers [ErrNotFound].
func (s *Store) DeleteAPIToken(ctx context.Context, id string, did Record) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		t, err := queryOne(conn, "api_token_get", named{":id": id}, apiTokenRow)
		if err != nil {
			return err
		}
		o, err := queryOne(conn, "operator_get", named{":id": t.OperatorID}, operatorRow)
		if err != nil {
			return err
		}
		if err := runOne(conn, "api_token_delete", named{":id": id}); err != nil {
			return err
		}
		return record(conn, did.otherwise(Record{Kind: tokenRemoved, Target: o.Name, Detail: t.describe()}))
	})
	if err != nil {
		return fmt.Errorf("delete API token %s: %w", id, err)
	}
	return nil
}

// describe says for the record which token it is.
func (t APIToken) describe() string {
	what := "token " + t.ID
	if t.Label != "" {
		what += " (" + t.Label + ")"
	}
	if t.ExpiresAt.IsZero() {
		return what + ", without an end"
	}
	return what + ", until " + t.ExpiresAt.Format(time.RFC3339)
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
