package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"borealis/handlers"
	"borealis/store"
	"borealis/tunnel/keys"
)

func (c *console) init(ctx context.Context, args []string) error {
	f := c.flags("init", "makes keys, database and the first administrator; prints the password once")
	data := f.String("data", defaultData, "`DIR` of the engine's data root")
	name := f.String("operator", "admin", "`NAME` of the first administrator")
	asJSON := f.Bool("json", false, "print one JSON object")
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	root := dataRoot(*data)
	if _, err := os.Stat(root.database()); err == nil {
		return &hintError{
			fmt.Errorf("there is an engine in %s already, nothing was changed", *data),
			"add operators with \"borealis operator add NAME\", or choose another --data",
		}
	}
	password, err := initialise(ctx, root, *name)
	if err != nil {
		return err
	}
	if *asJSON {
		return c.printJSON(struct {
			Data     string `json:"data"`
			Operator string `json:"operator"`
			Password string `json:"password"`
		}{*data, *name, password})
	}
	_, err = fmt.Fprintf(c.stdout, "Made an engine in %s.\n\n  operator  %s\n  password  %s\n\nThe password is not shown again. Start with: borealis serve --data %s\n",
		*data, *name, password, *data)
	return err
}

// initialise makes keys, database and the first administrator, and returns the password.
func initialise(ctx context.Context, root dataRoot, operator string) (password string, err error) {
	if err := os.MkdirAll(string(root), 0o700); err != nil {
		return "", &hintError{fmt.Errorf("make the data root: %w", err), "choose a folder that you may write to with --data, or run as the user that owns it"}
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	if _, err := keys.OpenEngine(root.certificates(), []string{"localhost", "127.0.0.1", "::1", host}); err != nil {
		return "", fmt.Errorf("make the engine's keys: %w", err)
	}
	s, err := store.Open(ctx, root.database())
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return addOperator(ctx, s, operator, "admin")
}

// addOperator adds an operator with a new password, which it returns.
func addOperator(ctx context.Context, s *store.Store, name, role string) (password string, err error) {
	password, hash, err := newPassword()
	if err != nil {
		return "", err
	}
	_, err = s.AddOperator(ctx, store.Operator{Name: name, Role: role, PasswordHash: hash})
	if errors.Is(err, store.ErrConflict) {
		return "", &hintError{fmt.Errorf("there is an operator named %q already", name), "choose another name"}
	}
	return password, err
}

// newPassword makes a password and its hash.
func newPassword() (password, hash string, err error) {
	password = handlers.NewPassword()
	if hash, err = handlers.HashPassword(password); err != nil {
		return "", "", fmt.Errorf("hash the password: %w", err)
	}
	return password, hash, nil
}
