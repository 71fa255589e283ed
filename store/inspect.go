package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

const (
	// applicationID is in the header of every database of ours: "BRLS".
	applicationID = 0x42524c53
	// oldestSQLite is the first release without the defect that can damage a
	// write-ahead log which is reset while another connection writes.
	oldestSQLite = "3.51.3"
	// maxComplaints is how many defects an integrity check reports.
	maxComplaints = 5
)

// inspect looks at the file without being able to change it: is it one that a
// program which knows that many migrations can use?
func inspect(ctx context.Context, path string, known int) (err error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadOnly)
	if sqlite.ErrCode(err) == sqlite.ResultCantOpen {
		return fmt.Errorf("it should be a file of the user that runs this program (%w)", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	conn.SetInterrupt(ctx.Done())
	if err := configure(conn); err != nil {
		return err
	}
	if err := assertSQLite(conn); err != nil {
		return err
	}
	if err := assertUsable(conn, known); err != nil {
		return err
	}
	return integrity(conn, "quick_check")
}

// assertUsable is schemaVersion outside a transaction.
func assertUsable(conn *sqlite.Conn, known int) (err error) {
	defer sqlitex.Transaction(conn)(&err) // another process may be making the schema
	_, err = schemaVersion(conn, known)
	return err
}

// schemaVersion returns how many migrations the file has had, or why it is not a
// database that a program which knows that many can use. It has to be called
// inside a transaction.
func schemaVersion(conn *sqlite.Conn, known int) (int, error) {
	app, err := pragmaText(conn, "application_id")
	if err != nil {
		return 0, err
	}
	text, err := pragmaText(conn, "user_version")
	if err != nil {
		return 0, err
	}
	version, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("schema version %q: %w", text, err)
	}
	tables, err := queryOne(conn, "schema_count", nil, func(stmt *sqlite.Stmt) (int64, error) {
		return stmt.GetInt64("count"), nil
	})
	empty := app == "0" && version == 0 && tables == 0
	switch {
	case err != nil:
		return 0, err
	case app != strconv.Itoa(applicationID) && !empty, version < 0:
		return 0, ErrForeign
	case version > known:
		return 0, fmt.Errorf("%w: the database has schema version %d and this program knows versions up to %d; install the newer Borealis again or restore a backup",
			ErrNewer, version, known)
	default:
		return version, nil
	}
}

// integrity runs one of SQLite's checks of the whole file.
func integrity(conn *sqlite.Conn, check string) error {
	var found []string
	err := sqlitex.ExecuteTransient(conn, fmt.Sprintf("PRAGMA %s(%d)", check, maxComplaints), &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			found = append(found, stmt.ColumnText(0))
			return nil
		},
	})
	if err != nil {
		return err
	}
	if complaints := strings.Join(found, "; "); complaints != "ok" {
		return fmt.Errorf("%w: %s; restore a backup", ErrDamaged, complaints)
	}
	return nil
}

// foreignKeys makes sure that no row refers to a row that is not there.
func foreignKeys(conn *sqlite.Conn) error {
	table, err := pragmaText(conn, "foreign_key_check")
	if err != nil {
		return err
	}
	if table != "" {
		return fmt.Errorf("%w: table %s has a row that refers to nothing", ErrDamaged, table)
	}
	return nil
}

// assertSQLite makes sure that the SQLite in this program is recent enough.
func assertSQLite(conn *sqlite.Conn) error {
	version, err := queryOne(conn, "sqlite_version", nil, func(stmt *sqlite.Stmt) (string, error) {
		return stmt.GetText("version"), nil
	})
	if err != nil {
		return err
	}
	return checkVersion(version)
}

// checkVersion compares a version of SQLite with the oldest that may be used.
func checkVersion(version string) error {
	var have, want [3]int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &have[0], &have[1], &have[2]); err != nil {
		return fmt.Errorf("SQLite version %q: %w", version, err)
	}
	if _, err := fmt.Sscanf(oldestSQLite, "%d.%d.%d", &want[0], &want[1], &want[2]); err != nil {
		return err
	}
	for i := range have {
		if have[i] != want[i] {
			if have[i] > want[i] {
				return nil
			}
			return fmt.Errorf("SQLite %s can damage databases; this program must be built with %s or newer", version, oldestSQLite)
		}
	}
	return nil
}

// pragmaText returns the first column of the last row that a pragma answers.
func pragmaText(conn *sqlite.Conn, pragma string) (string, error) {
	var value string
	err := sqlitex.ExecuteTransient(conn, "PRAGMA "+pragma, &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			value = stmt.ColumnText(0)
			return nil
		},
	})
	if err != nil {
		return "", fmt.Errorf("pragma %s: %w", pragma, err)
	}
	return value, nil
}
