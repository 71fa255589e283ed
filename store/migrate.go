package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"path"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// migrationFiles holds the scripts that make the schema. Scripts that were
// released are never changed; new ones are added at the end.
//
//go:embed sql/migrations/*.sql
var migrationFiles embed.FS

// migrations returns the scripts that make the schema, in order. Script N is
// named NNN_something.sql, starting with 001.
func migrations() ([]string, error) {
	names, err := fs.Glob(migrationFiles, "sql/migrations/*.sql")
	if err != nil {
		return nil, err
	}
	scripts := make([]string, 0, len(names))
	for i, name := range names { // sorted by Glob
		if number := fmt.Sprintf("%03d_", i+1); path.Base(name)[:len(number)] != number {
			return nil, fmt.Errorf("migration %s: its name should begin with %s", name, number)
		}
		script, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		scripts = append(scripts, string(script))
	}
	return scripts, nil
}

// migrate applies the scripts that the database has not had yet, in a single
// transaction. Another process may have done so since the file was inspected.
func migrate(ctx context.Context, conn *sqlite.Conn, scripts []string) (err error) {
	end, err := begin(ctx, conn)
	if err != nil {
		return err
	}
	defer end(&err)
	version, err := schemaVersion(conn, len(scripts))
	if err != nil {
		return err
	}
	for i, script := range scripts[version:] {
		if err := sqlitex.ExecuteScript(conn, script, nil); err != nil {
			return fmt.Errorf("migration %d: %w", version+i+1, err)
		}
	}
	// Written each time, for SQLite opens a file that it cannot write without a word.
	mark := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d;", applicationID, len(scripts))
	if err := sqlitex.ExecuteScript(conn, mark, nil); err != nil {
		return fmt.Errorf("note schema version %d: %w", len(scripts), err)
	}
	return nil
}
