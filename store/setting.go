package store

import (
	"context"
	"fmt"

	"zombiezen.com/go/sqlite"
)

// Setting returns the value of a setting, or [ErrNotFound] when it was never set.
func (s *Store) Setting(ctx context.Context, key string) (string, error) {
	v, err := readOne(ctx, s, "setting_get", named{":key": key}, func(stmt *sqlite.Stmt) (string, error) {
		return stmt.GetText("value"), nil
	})
	if err != nil {
		return "", fmt.Errorf("setting %q: %w", key, err)
	}
	return v, nil
}

// SetSetting stores the value of a setting, in place of the one before.
func (s *Store) SetSetting(ctx context.Context, key, value string) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return run(conn, "setting_set", named{":key": key, ":value": value})
	})
	if err != nil {
		return fmt.Errorf("set setting %q: %w", key, err)
	}
	return nil
}
