package store

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
)

// MaxUses is how many devices one enrolment code may bring in.
const MaxUses = 10_000

// MaxPending is how many devices may wait for approval at a time.
const MaxPending = 500

// The limits of a code that approves by itself: who has it needs nobody's consent.
const (
	MaxAutoUses = 100
	MaxAutoLife = time.Hour
)

// Code is an enrolment code. Its secret is not stored, only the SHA-256 of it.
type Code struct {
	ID          string // UUIDv7
	Uses        int    // how many devices it may bring in, 1 to [MaxUses]; zero is 1
	Used        int    // how many it has brought in
	AutoApprove bool   // devices are active at once, without an operator's approval
	Site        string // given to its devices
	CreatedBy   string // operator's name
	CreatedAt   time.Time
	ExpiresAt   time.Time
}

// AddCode stores c under the SHA-256 of its secret, with the record code_created,
// and returns it as stored: an empty ID is made, zero Uses is 1, Used is 0, a zero
// CreatedAt is now, and an empty CreatedBy is who did it. A code that approves by
// itself has no more than [MaxAutoUses] and [MaxAutoLife].
func (s *Store) AddCode(ctx context.Context, hash [32]byte, c Code, did Record) (Code, error) {
	c.Uses, c.CreatedBy = cmp.Or(c.Uses, 1), cmp.Or(c.CreatedBy, did.Actor)
	c.ID, c.CreatedAt = fill(c.ID, c.CreatedAt)
	c.ExpiresAt, c.Used = utc(c.ExpiresAt), 0
	if err := c.check(); err != nil {
		return Code{}, fmt.Errorf("add enrolment code: %w", err)
	}
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		err := run(conn, "code_add", named{
			":id":           c.ID,
			":code_hash":    hash[:],
			":uses":         c.Uses,
			":auto_approve": c.AutoApprove,
			":site":         c.Site,
			":created_by":   c.CreatedBy,
			":created_at":   nanos(c.CreatedAt),
			":expires_at":   nanos(c.ExpiresAt),
		})
		if err != nil {
			return err
		}
		return record(conn, did.otherwise(Record{At: c.CreatedAt, Kind: codeCreated, Target: c.ID, Detail: c.describe()}))
	})
	if err != nil {
		return Code{}, fmt.Errorf("add enrolment code: %w", err)
	}
	return c, nil
}

// check says why a code must not be.
func (c Code) check() error {
	switch {
	case c.Uses < 1 || c.Uses > MaxUses:
		return fmt.Errorf("uses must be 1 to %d, not %d", MaxUses, c.Uses)
	case c.AutoApprove && c.Uses > MaxAutoUses:
		return fmt.Errorf("a code that approves by itself is for at most %d devices, not %d", MaxAutoUses, c.Uses)
	case c.AutoApprove && c.ExpiresAt.Sub(c.CreatedAt) > MaxAutoLife:
		return fmt.Errorf("a code that approves by itself lives for at most %s", MaxAutoLife)
	}
	return nil
}

// describe says for the record what a code is good for.
func (c Code) describe() string {
	what := fmt.Sprintf("for %d, until %s", c.Uses, c.ExpiresAt.Format(time.RFC3339))
	if c.Site != "" {
		what += ", site " + c.Site
	}
	if c.AutoApprove {
		what += ", approves by itself"
	}
	return what
}

// Codes returns all enrolment codes, used and expired ones too, newest first.
func (s *Store) Codes(ctx context.Context) ([]Code, error) {
	all, err := readAll(ctx, s, "code_list", nil, codeRow)
	if err != nil {
		return nil, fmt.Errorf("list enrolment codes: %w", err)
	}
	return all, nil
}

// DeleteCode takes an enrolment code out of use, with the record code_removed, or
// answers [ErrNotFound]. The devices it brought in stay.
func (s *Store) DeleteCode(ctx context.Context, id string, did Record) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		c, err := queryOne(conn, "code_get", named{":id": id}, codeRow)
		if err != nil {
			return err
		}
		if err := runOne(conn, "code_delete", named{":id": id}); err != nil {
			return err
		}
		return record(conn, did.otherwise(Record{Kind: codeRemoved, Target: id, Detail: fmt.Sprintf("%d of %d used", c.Used, c.Uses)}))
	})
	if err != nil {
		return fmt.Errorf("delete enrolment code %s: %w", id, err)
	}
	return nil
}

func codeRow(stmt *sqlite.Stmt) (Code, error) {
	return Code{
		ID:          stmt.GetText("id"),
		Uses:        int(stmt.GetInt64("uses")),
		Used:        int(stmt.GetInt64("used")),
		AutoApprove: stmt.GetBool("auto_approve"),
		Site:        stmt.GetText("site"),
		CreatedBy:   stmt.GetText("created_by"),
		CreatedAt:   instant(stmt, "created_at"),
		ExpiresAt:   instant(stmt, "expires_at"),
	}, nil
}
