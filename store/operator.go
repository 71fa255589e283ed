package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"
)

// Operator is a person who may sign in to the console.
type Operator struct {
	ID           string // UUIDv7
	Name         string // unique whatever its letters' case
	PasswordHash string // encoded with its parameters; never a password
	Role         string
	Sites        []string // the only ones that exist for the operator; empty: every site
	CreatedAt    time.Time
}

// Scope is which devices exist for somebody. The zero value is none.
type Scope struct {
	All   bool     // every device
	Sites []string // else the devices of these sites
}

// Has reports whether the devices of a site are in the scope.
func (s Scope) Has(site string) bool { return s.All || slices.Contains(s.Sites, site) }

// AddOperator stores o and returns it as stored: an empty ID is made and a zero
// CreatedAt is now. The name is compared without regard to case; when it is taken
// the error is [ErrConflict].
func (s *Store) AddOperator(ctx context.Context, o Operator) (Operator, error) {
	if strings.TrimSpace(o.Name) == "" || o.PasswordHash == "" || o.Role == "" {
		return Operator{}, errors.New("add operator: name, password hash and role must not be empty")
	}
	o.ID, o.CreatedAt = fill(o.ID, o.CreatedAt)
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return run(conn, "operator_add", named{
			":id":            o.ID,
			":name":          o.Name,
			":name_key":      nameKey(o.Name),
			":password_hash": o.PasswordHash,
			":role":          o.Role,
			":created_at":    nanos(o.CreatedAt),
		})
	})
	if err != nil {
		return Operator{}, fmt.Errorf("add operator %q: %w", o.Name, err)
	}
	return o, nil
}

// Operator returns the operator with that id, or [ErrNotFound].
func (s *Store) Operator(ctx context.Context, id string) (Operator, error) {
	o, err := readOne(ctx, s, "operator_get", named{":id": id}, operatorRow)
	if err != nil {
		return Operator{}, fmt.Errorf("operator %s: %w", id, err)
	}
	return o, nil
}

// OperatorByName returns the operator with that name, whatever its letters'
// case, or [ErrNotFound].
func (s *Store) OperatorByName(ctx context.Context, name string) (Operator, error) {
	o, err := readOne(ctx, s, "operator_by_name", named{":name_key": nameKey(name)}, operatorRow)
	if err != nil {
		return Operator{}, fmt.Errorf("operator %q: %w", name, err)
	}
	return o, nil
}

// Operators returns all operators, by name.
func (s *Store) Operators(ctx context.Context) ([]Operator, error) {
	all, err := readAll(ctx, s, "operator_list", nil, operatorRow)
	if err != nil {
		return nil, fmt.Errorf("list operators: %w", err)
	}
	return all, nil
}

// SetPassword replaces an operator's password hash; [ErrNotFound] when there is
// no such operator. Sessions and API tokens stay valid.
func (s *Store) SetPassword(ctx context.Context, operatorID, hash string) error {
	if hash == "" {
		return errors.New("set password: the hash must not be empty")
	}
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return runOne(conn, "operator_set_password", named{":id": operatorID, ":password_hash": hash})
	})
	if err != nil {
		return fmt.Errorf("set password of operator %s: %w", operatorID, err)
	}
	return nil
}

// nameKey is the form of an operator's name that must be unique.
func nameKey(name string) string { return strings.ToLower(name) }

func operatorRow(stmt *sqlite.Stmt) (Operator, error) {
	return Operator{
		ID:           stmt.GetText("id"),
		Name:         stmt.GetText("name"),
		PasswordHash: stmt.GetText("password_hash"),
		Role:         stmt.GetText("role"),
		CreatedAt:    instant(stmt, "created_at"),
	}, nil
}
