package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// migrationFiles holds the scripts that make the schema. Scripts that were
// released are never changed; new ones are added at the end.
//
//go:embed sql/migrations/*.sql
var migrationFiles embed.FS

// A migration is one step of the schema: a script, and for what SQL cannot do a
// function that is called after it in the same transaction.
type migration struct {
	script string
	after  func(*sqlite.Conn) error
}

// afterScript are the functions of migrations by number.
var afterScript = map[int]func(*sqlite.Conn) error{
	3: chainActivity,
}

// migrations returns the steps that make the schema, in order. The script of step N
// is named NNN_something.sql, starting with 001.
func migrations() ([]migration, error) {
	names, err := fs.Glob(migrationFiles, "sql/migrations/*.sql")
	if err != nil {
		return nil, err
	}
	steps := make([]migration, 0, len(names))
	for i, name := range names { // sorted by Glob
		if number := fmt.Sprintf("%03d_", i+1); path.Base(name)[:len(number)] != number {
			return nil, fmt.Errorf("migration %s: its name should begin with %s", name, number)
		}
		script, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, migration{script: string(script), after: afterScript[i+1]})
	}
	return steps, nil
}

// migrate applies the steps that the database has not had yet, in a single
// transaction. Another process may have done so since the file was inspected. Before it
// changes a schema that is there it calls keep with that version, and gives up when that fails.
func migrate(ctx context.Context, conn *sqlite.Conn, steps []migration, keep func(version int) error) (err error) {
	end, err := begin(ctx, conn)
	if err != nil {
		return err
	}
	defer end(&err)
	version, err := schemaVersion(conn, len(steps))
	if err != nil {
		return err
	}
	if 0 < version && version < len(steps) {
		if err := keep(version); err != nil {
			return err
		}
	}
	for i, step := range steps[version:] {
		if err := step.apply(conn); err != nil {
			return fmt.Errorf("migration %d: %w", version+i+1, err)
		}
	}
	// Written each time, for SQLite opens a file that it cannot write without a word.
	mark := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d;", applicationID, len(steps))
	if err := sqlitex.ExecuteScript(conn, mark, nil); err != nil {
		return fmt.Errorf("note schema version %d: %w", len(steps), err)
	}
	return nil
}

func (m migration) apply(conn *sqlite.Conn) error {
	if err := sqlitex.ExecuteScript(conn, m.script, nil); err != nil || m.after == nil {
		return err
	}
	return m.after(conn)
}

// chainActivity makes lines of the audit chain of what was on record before there
// was one, in the order in which it happened.
func chainActivity(conn *sqlite.Conn) error {
	const old = "SELECT at, device_id, tunnel_id, actor, kind, reason, detail FROM activity ORDER BY id"
	err := sqlitex.ExecuteTransient(conn, old, &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			return record(conn, Record{
				At:       time.Unix(0, stmt.GetInt64("at")),
				Actor:    stmt.GetText("actor"),
				Kind:     stmt.GetText("kind"),
				DeviceID: stmt.GetText("device_id"),
				TunnelID: stmt.GetText("tunnel_id"),
				Reason:   stmt.GetText("reason"),
				Detail:   stmt.GetText("detail"),
			})
		},
	})
	if err != nil {
		return err
	}
	return sqlitex.ExecuteTransient(conn, "DROP TABLE activity", nil)
}
