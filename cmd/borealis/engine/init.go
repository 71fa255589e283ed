package engine

import (
	"context"
	"errors"
	"fmt"
	"os"

	"borealis/cmd/hint"
	"borealis/handlers"
	"borealis/handlers/access"
	"borealis/static/downloads"
	"borealis/store"
	"borealis/tunnel/keys"
)

// Init makes a data root: keys, database and the first administrator, whose password it returns.
func Init(ctx context.Context, root Root, operator string, sealed Seal) (password string, err error) {
	if err := os.MkdirAll(string(root), 0o700); err != nil {
		return "", &hint.Error{Err: fmt.Errorf("make the data root: %w", err), Hint: "choose a folder that you may write to with --data, or run as the user that owns it"}
	}
	box, err := sealed.Open(root)
	if err != nil {
		return "", err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	if _, err := downloads.OpenDrivers(string(root), nil); err != nil {
		return "", err
	}
	if _, err := keys.OpenEngine(root.Certificates(), []string{"localhost", "127.0.0.1", "::1", host}, box); err != nil {
		return "", fmt.Errorf("make the engine's keys: %w", err)
	}
	s, err := store.Open(ctx, root.Database())
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return AddOperator(ctx, s, store.Operator{Name: operator, Role: access.Admin})
}

// NewPassword makes a password and its hash.
func NewPassword() (password, hash string, err error) {
	password = handlers.NewPassword()
	if hash, err = handlers.HashPassword(password); err != nil {
		return "", "", fmt.Errorf("hash the password: %w", err)
	}
	return password, hash, nil
}
