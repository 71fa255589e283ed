package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"
)

// admin is the role that an engine must never be without.
const admin = "admin"

// roles are the roles that an operator can have.
var roles = []string{"viewer", "operator", "auditor", admin}

// Backstops against what no caller should ask for.
const (
	maxSites      = 200 // that an operator is held to
	maxSiteLength = 512 // bytes of a site's name
)

// Operator is a person who may sign in to the console.
type Operator struct {
	ID           string   // UUIDv7
	Name         string   // 1 to 64 of the characters a-z A-Z 0-9 . _ @ -, unique whatever its letters' case
	PasswordHash string   // encoded with its parameters, never a password; empty: only an OpenID provider lets the operator in
	Role         string   // viewer, operator, auditor or admin
	Sites        []string // sorted; the only ones that exist for the operator; empty: every site
	CreatedAt    time.Time
}

// Scope is which devices exist for somebody. The zero value is none.
type Scope struct {
	All   bool     // every device
	Sites []string // else the devices of these sites
}

// Has reports whether the devices of a site are in the scope.
func (s Scope) Has(site string) bool { return s.All || slices.Contains(s.Sites, site) }

// AddOperator stores o, with the record operator_added, and returns it as stored:
// an empty ID is made and a zero CreatedAt is now. The name is compared without
// regard to case; when it is taken the error is [ErrConflict].
func (s *Store) AddOperator(ctx context.Context, o Operator, did Record) (Operator, error) {
	if o.PasswordHash == "" {
		return Operator{}, errors.New("add operator: the password hash must not be empty")
	}
	return s.addOperator(ctx, o, did, nil)
}

// addOperator adds an operator and, in the same transaction, does what else fn does.
func (s *Store) addOperator(ctx context.Context, o Operator, did Record, fn func(*sqlite.Conn, Operator) error) (Operator, error) {
	err := checkName(o.Name)
	if err == nil {
		err = checkRole(o.Role, o.Sites)
	}
	if err != nil {
		return Operator{}, fmt.Errorf("add operator %q: %w", o.Name, err)
	}
	o.ID, o.CreatedAt = fill(o.ID, o.CreatedAt)
	o.Sites = sortedSites(o.Sites)
	err = s.write(ctx, func(conn *sqlite.Conn) error {
		err := run(conn, "operator_add", named{
			":id":            o.ID,
			":name":          o.Name,
			":name_key":      nameKey(o.Name),
			":password_hash": o.PasswordHash,
			":role":          o.Role,
			":sites":         encodeStrings(o.Sites),
			":created_at":    nanos(o.CreatedAt),
		})
		if err == nil && fn != nil {
			err = fn(conn, o)
		}
		if err != nil {
			return err
		}
		return record(conn, did.otherwise(Record{Kind: operatorAdded, Target: o.Name, Detail: describeRole(o)}))
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

// SetPassword replaces an operator's password hash, with the record
// password_changed, and ends all sessions of the operator but the one that did it,
// did.Session. API tokens stay valid. The error is [ErrNotFound] when there is no
// such operator.
func (s *Store) SetPassword(ctx context.Context, operatorID, hash string, did Record) error {
	if hash == "" {
		return errors.New("set password: the hash must not be empty")
	}
	err := s.change(ctx, operatorID, did, Record{Kind: passwordChanged}, func(conn *sqlite.Conn, _ Operator) error {
		if err := runOne(conn, "operator_set_password", named{":id": operatorID, ":password_hash": hash}); err != nil {
			return err
		}
		return run(conn, "session_delete_others", named{":operator_id": operatorID, ":id": did.Session})
	})
	if err != nil {
		return fmt.Errorf("set password of operator %s: %w", operatorID, err)
	}
	return nil
}

// RehashPassword replaces an operator's password hash by one of the same password
// with other parameters, without a record. The error is [ErrNotFound] when there is
// no such operator.
func (s *Store) RehashPassword(ctx context.Context, operatorID, hash string) error {
	if hash == "" {
		return errors.New("rehash password: the hash must not be empty")
	}
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return runOne(conn, "operator_set_password", named{":id": operatorID, ":password_hash": hash})
	})
	if err != nil {
		return fmt.Errorf("rehash password of operator %s: %w", operatorID, err)
	}
	return nil
}

// SetRole changes what an operator may do and which sites exist for the operator,
// with the record operator_changed; no sites is every site. The errors are
// [ErrNotFound] and [ErrLastAdmin].
func (s *Store) SetRole(ctx context.Context, operatorID, role string, sites []string, did Record) error {
	err := checkRole(role, sites)
	if err != nil {
		return fmt.Errorf("set role of operator %s: %w", operatorID, err)
	}
	err = s.write(ctx, func(conn *sqlite.Conn) error {
		o, err := queryOne(conn, "operator_get", named{":id": operatorID}, operatorRow)
		if err != nil {
			return err
		}
		was := describeRole(o)
		o.Role, o.Sites = role, sortedSites(sites)
		err = keepAdmin(conn, did, func() error {
			return runOne(conn, "operator_set_role", named{":id": operatorID, ":role": role, ":sites": encodeStrings(o.Sites)})
		})
		if err != nil {
			return err
		}
		return record(conn, did.otherwise(Record{Kind: operatorChanged, Target: o.Name, Detail: describeRole(o) + "; was " + was}))
	})
	if err != nil {
		return fmt.Errorf("set role of operator %s: %w", operatorID, err)
	}
	return nil
}

// DeleteOperator removes an operator and everything that lets the operator in, with
// the record operator_removed. The errors are [ErrNotFound] and [ErrLastAdmin].
func (s *Store) DeleteOperator(ctx context.Context, operatorID string, did Record) error {
	err := s.change(ctx, operatorID, did, Record{Kind: operatorRemoved}, func(conn *sqlite.Conn, _ Operator) error {
		return keepAdmin(conn, did, func() error {
			if err := runOne(conn, "operator_delete", named{":id": operatorID}); err != nil {
				return err
			}
			return run(conn, "lock_delete", named{":kind": LockOperator, ":target": operatorID})
		})
	})
	if err != nil {
		return fmt.Errorf("delete operator %s: %w", operatorID, err)
	}
	return nil
}

// change is a transaction that changes something of an operator and records did,
// with the operator's name as its target and what else it leaves empty taken from
// otherwise. The error is [ErrNotFound] when there is no such operator.
func (s *Store) change(ctx context.Context, operatorID string, did, otherwise Record, fn func(*sqlite.Conn, Operator) error) error {
	return s.write(ctx, func(conn *sqlite.Conn) error {
		o, err := queryOne(conn, "operator_get", named{":id": operatorID}, operatorRow)
		if err != nil {
			return err
		}
		if err := fn(conn, o); err != nil {
			return err
		}
		otherwise.Target = o.Name
		return record(conn, did.otherwise(otherwise))
	})
}

// keepAdmin calls fn, and answers [ErrLastAdmin] when there was an administrator
// who is not locked before and is none after.
func keepAdmin(conn *sqlite.Conn, did Record, fn func() error) error {
	now := named{":now": nanos(orNow(did.At)), ":role": admin}
	before, err := queryOne(conn, "operator_count_unlocked", now, countRow)
	if err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err
	}
	after, err := queryOne(conn, "operator_count_unlocked", now, countRow)
	if err == nil && before > 0 && after == 0 {
		err = ErrLastAdmin
	}
	return err
}

// validName is what an operator can be called: nothing that looks like something
// else, and nothing that must be escaped anywhere.
var validName = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)

func checkName(name string) error {
	if !validName.MatchString(name) {
		return errors.New("a name has 1 to 64 letters a to z, digits and the characters . _ @ -")
	}
	return nil
}

func checkRole(role string, sites []string) error {
	switch {
	case !slices.Contains(roles, role):
		return fmt.Errorf("there is no role %q, only %s", role, strings.Join(roles, ", "))
	case len(sites) > maxSites:
		return fmt.Errorf("%d sites are too many; the most is %d", len(sites), maxSites)
	case slices.Contains(sites, ""):
		return errors.New("a site without a name cannot be chosen")
	case slices.ContainsFunc(sites, func(site string) bool { return len(site) > maxSiteLength }):
		return fmt.Errorf("a site's name has more than %d bytes", maxSiteLength)
	}
	return nil
}

// sortedSites are sites as they are stored.
func sortedSites(sites []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(sites)))
}

// describeRole says for the record what an operator may do.
func describeRole(o Operator) string {
	if len(o.Sites) == 0 {
		return o.Role + ", all sites"
	}
	return o.Role + ", sites " + strings.Join(o.Sites, ", ")
}

// nameKey is the form of an operator's name that must be unique.
func nameKey(name string) string { return strings.ToLower(name) }

func operatorRow(stmt *sqlite.Stmt) (Operator, error) {
	o := Operator{
		ID:           stmt.GetText("id"),
		Name:         stmt.GetText("name"),
		PasswordHash: stmt.GetText("password_hash"),
		Role:         stmt.GetText("role"),
		CreatedAt:    instant(stmt, "created_at"),
	}
	if sites := stmt.GetText("sites"); sites != "[]" {
		if err := json.Unmarshal([]byte(sites), &o.Sites); err != nil {
			return Operator{}, fmt.Errorf("decode sites of operator %s: %w", o.ID, err)
		}
	}
	return o, nil
}
