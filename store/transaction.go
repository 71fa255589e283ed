package store

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

const (
	// busyTimeout is how long a call waits for another process.
	busyTimeout = 5 * time.Second
	// longestPause is the longest time between two looks whether it is done.
	longestPause = 20 * time.Millisecond
)

// statements holds one SQL statement in each file.
//
//go:embed sql/*.sql
var statements embed.FS

// named holds the arguments of a statement, by parameter with its colon.
type named = map[string]any

// errNoChange is what runOne answers when a statement changed no row.
var errNoChange = fmt.Errorf("no such row: %w", ErrNotFound)

// run executes the statement in sql/<name>.sql and ignores its rows.
func run(conn *sqlite.Conn, name string, args named) error {
	return execute(conn, name, &sqlitex.ExecOptions{Named: args})
}

// execute executes the statement in sql/<name>.sql, which each connection
// prepares once.
func execute(conn *sqlite.Conn, name string, options *sqlitex.ExecOptions) error {
	statement, err := statements.ReadFile("sql/" + name + ".sql")
	if err == nil {
		err = sqlitex.Execute(conn, string(bytes.TrimSpace(statement)), options)
	}
	if err != nil {
		return fmt.Errorf("execute %s: %w", name, err)
	}
	return nil
}

// runOne is run for a statement that must change a row.
func runOne(conn *sqlite.Conn, name string, args named) error {
	if err := run(conn, name, args); err != nil {
		return err
	}
	if conn.Changes() == 0 {
		return errNoChange
	}
	return nil
}

// query executes the statement in sql/<name>.sql and returns its rows.
func query[T any](conn *sqlite.Conn, name string, args named, row func(*sqlite.Stmt) (T, error)) ([]T, error) {
	var all []T
	err := execute(conn, name, &sqlitex.ExecOptions{
		Named: args,
		ResultFunc: func(stmt *sqlite.Stmt) error {
			v, err := row(stmt)
			all = append(all, v)
			return err
		},
	})
	return all, err
}

// search is query for a statement with conditions that do not always hold: a line
// that begins with AND is left out unless all its parameters are given.
func search[T any](conn *sqlite.Conn, name string, args named, row func(*sqlite.Stmt) (T, error)) ([]T, error) {
	statement, err := statements.ReadFile("sql/" + name + ".sql")
	if err != nil {
		return nil, fmt.Errorf("search with %s: %w", name, err)
	}
	var all []T
	// Transient, for a connection keeps the statements that it prepared for good.
	err = sqlitex.ExecuteTransient(conn, chosen(string(statement), args), &sqlitex.ExecOptions{
		Named: args,
		ResultFunc: func(stmt *sqlite.Stmt) error {
			v, err := row(stmt)
			all = append(all, v)
			return err
		},
	})
	if err != nil {
		return nil, fmt.Errorf("search with %s: %w", name, err)
	}
	return all, nil
}

// chosen is the part of a statement that these arguments ask for.
func chosen(statement string, args named) string {
	var lines []string
	for line := range strings.Lines(strings.TrimSpace(statement)) {
		if strings.HasPrefix(strings.TrimSpace(line), "AND ") && slices.ContainsFunc(parameter.FindAllString(line, -1), func(name string) bool {
			_, given := args[name]
			return !given
		}) {
			continue
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}

// parameter finds the parameters of a statement.
var parameter = regexp.MustCompile(`:[a-z_]+`)

// queryOne is query for a statement that finds at most one row; [ErrNotFound]
// when it finds none.
func queryOne[T any](conn *sqlite.Conn, name string, args named, row func(*sqlite.Stmt) (T, error)) (T, error) {
	all, err := query(conn, name, args, row)
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		var none T
		return none, err
	}
	return all[0], nil
}

// readAll is query on a reader of its own.
func readAll[T any](ctx context.Context, s *Store, name string, args named, row func(*sqlite.Stmt) (T, error)) (all []T, err error) {
	err = s.read(ctx, func(conn *sqlite.Conn) error {
		all, err = query(conn, name, args, row)
		return err
	})
	return all, err
}

// readOne is queryOne on a reader of its own.
func readOne[T any](ctx context.Context, s *Store, name string, args named, row func(*sqlite.Stmt) (T, error)) (one T, err error) {
	err = s.read(ctx, func(conn *sqlite.Conn) error {
		one, err = queryOne(conn, name, args, row)
		return err
	})
	return one, err
}

// read calls fn with a connection that cannot write. The end of ctx interrupts
// it. When another process is in the way fn is called again.
func (s *Store) read(ctx context.Context, fn func(*sqlite.Conn) error) error {
	err := retry(ctx, func() error {
		if err := s.usable(ctx); err != nil {
			return err
		}
		conn, err := s.readers.Take(ctx)
		if err != nil {
			return cmp.Or(s.usable(ctx), err)
		}
		defer s.readers.Put(conn)
		return fn(conn)
	})
	return explain(ctx, err)
}

// begin starts a transaction that may write, once no other process has one. The
// function it returns commits or rolls back, by the error it is shown.
func begin(ctx context.Context, conn *sqlite.Conn) (end func(*error), err error) {
	err = retry(ctx, func() error {
		end, err = sqlitex.ImmediateTransaction(conn)
		return err
	})
	return end, err
}

// retry calls fn again while SQLite answers that another process is in the way,
// until ctx ends, but no longer than busyTimeout. SQLite's own handlers do not
// notice the end of a context, and are not asked on every occasion.
func retry(ctx context.Context, fn func() error) error {
	var giveUp time.Time
	for pause := time.Millisecond; ; pause = min(2*pause, longestPause) {
		err := fn()
		if sqlite.ErrCode(err).ToPrimary() != sqlite.ResultBusy {
			return err
		}
		now := time.Now()
		if giveUp.IsZero() {
			giveUp = now.Add(busyTimeout)
		}
		if now.After(giveUp) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// usable says why a call cannot start at all.
func (s *Store) usable(ctx context.Context) error {
	select {
	case <-s.closed:
		return ErrClosed
	default:
		return ctx.Err()
	}
}
