package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"borealis/handlers"
	"borealis/handlers/access"
	"borealis/static/downloads"
	"borealis/store"
	"borealis/tunnel/keys"
)

func (c *console) init(ctx context.Context, args []string) error {
	f := c.flags("init", "makes keys, database and the first administrator; prints the password once")
	data := dataFlag(f)
	name := f.String("operator", "admin", "`NAME` of the first administrator")
	sealed := sealOptions(f)
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
	password, err := initialise(ctx, root, *name, *sealed)
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
	_, err = fmt.Fprintf(c.stdout, `Made an engine in %s.

  operator  %s
  password  %s

The password is not shown again. %s
Start with: borealis serve --data %s
`, *data, *name, password, sealed.advice(root), *data)
	return err
}

// advice says what to do about the key, which a backup of the data root leaves out.
func (s sealFlags) advice(root dataRoot) string {
	if s.passphrase != "" {
		return "The engine's secrets are sealed with the passphrase; nothing opens them without it."
	}
	return fmt.Sprintf("The engine's secrets are sealed with the key in\n%s: keep a copy of it, but not beside the backups.", s.path(root))
}

// initialise makes keys, database and the first administrator, and returns the password.
func initialise(ctx context.Context, root dataRoot, operator string, sealed sealFlags) (password string, err error) {
	if err := os.MkdirAll(string(root), 0o700); err != nil {
		return "", &hintError{fmt.Errorf("make the data root: %w", err), "choose a folder that you may write to with --data, or run as the user that owns it"}
	}
	box, err := sealed.open(root)
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
	if _, err := keys.OpenEngine(root.certificates(), []string{"localhost", "127.0.0.1", "::1", host}, box); err != nil {
		return "", fmt.Errorf("make the engine's keys: %w", err)
	}
	s, err := store.Open(ctx, root.database())
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return addOperator(ctx, s, store.Operator{Name: operator, Role: access.Admin})
}

// newPassword makes a password and its hash.
func newPassword() (password, hash string, err error) {
	password = handlers.NewPassword()
	if hash, err = handlers.HashPassword(password); err != nil {
		return "", "", fmt.Errorf("hash the password: %w", err)
	}
	return password, hash, nil
}
