package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Standing is who and what is trusted at one moment. Everything else that is open
// has to end.
type Standing struct {
	Operators   map[string]Operator // all, by id
	Credentials map[string]string   // sessions and API tokens that have not expired: id → operator's id
	Locks       []Lock              // in force
	Barred      map[string]string   // devices that are quarantined or revoked: id → state
	Waiting     map[string]bool     // devices that wait for approval, by id
}

// Standing returns what is so at now, in one look at the database.
func (s *Store) Standing(ctx context.Context, now time.Time) (v Standing, err error) {
	err = s.read(ctx, func(conn *sqlite.Conn) (err error) {
		defer sqlitex.Transaction(conn)(&err) // all statements see the same moment
		v, err = standing(conn, now)
		return err
	})
	if err != nil {
		return Standing{}, fmt.Errorf("standing: %w", err)
	}
	return v, nil
}

func standing(conn *sqlite.Conn, now time.Time) (Standing, error) {
	at := named{":now": nanos(now)}
	operators, err1 := query(conn, "operator_list", nil, operatorRow)
	credentials, err2 := query(conn, "credential_list", at, pairRow)
	locks, err3 := query(conn, "lock_list", at, lockRow)
	inactive, err4 := query(conn, "device_list_not_active", nil, pairRow)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return Standing{}, err
	}
	v := Standing{
		Operators: make(map[string]Operator), Credentials: collect(credentials), Locks: locks,
		Barred: collect(inactive), Waiting: make(map[string]bool),
	}
	for id, state := range v.Barred {
		if state == Pending {
			v.Waiting[id] = true
			delete(v.Barred, id)
		}
	}
	for _, o := range operators {
		v.Operators[o.ID] = o
	}
	return v, nil
}

func pairRow(stmt *sqlite.Stmt) ([2]string, error) {
	return [2]string{stmt.GetText("key"), stmt.GetText("value")}, nil
}

// collect is pairs as a map.
func collect(pairs [][2]string) map[string]string {
	return maps.Collect(func(yield func(string, string) bool) {
		for _, p := range pairs {
			if !yield(p[0], p[1]) {
				return
			}
		}
	})
}
