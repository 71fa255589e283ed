package store

import (
	"context"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
)

// MaxUses is how many devices one enrolment code may bring in.
const MaxUses = 10_000

// MaxPending is how many devices may wait for approval at a time.
const MaxPending = 500

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

// AddCode stores c under the SHA-256 of its secret and returns it as stored: an
// empty ID is made, zero Uses is 1, Used is 0, a zero CreatedAt is now.
func (s *Store) AddCode(ctx context.Context, hash [32]byte, c Code) (Code, error) {
	if c.Uses == 0 {
		c.Uses = 1
	}
	if c.Uses < 1 || c.Uses > MaxUses {
		return Code{}, fmt.Errorf("add enrolment code: uses must be 1 to %d, not %d", MaxUses, c.Uses)
	}
	c.ID, c.CreatedAt = fill(c.ID, c.CreatedAt)
	c.ExpiresAt, c.Used = utc(c.ExpiresAt), 0
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return run(conn, "code_add", named{
			":id":           c.ID,
			":code_hash":    hash[:],
			":uses":         c.Uses,
			":auto_approve": c.AutoApprove,
			":site":         c.Site,
			":created_by":   c.CreatedBy,
			":created_at":   nanos(c.CreatedAt),
			":expires_at":   nanos(c.ExpiresAt),
		})
	})
	if err != nil {
		return Code{}, fmt.Errorf("add enrolment code: %w", err)
	}
	return c, nil
}

// Codes returns all enrolment codes, used and expired ones too, newest first.
func (s *Store) Codes(ctx context.Context) ([]Code, error) {
	all, err := readAll(ctx, s, "code_list", nil, codeRow)
	if err != nil {
		return nil, fmt.Errorf("list enrolment codes: %w", err)
	}
	return all, nil
}

// DeleteCode takes an enrolment code out of use, or answers [ErrNotFound]. The
// devices it brought in stay.
func (s *Store) DeleteCode(ctx context.Context, id string) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return runOne(conn, "code_delete", named{":id": id})
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
