package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"borealis/handlers"
	"borealis/store"
)

func (c *console) tokenNew(ctx context.Context, args []string) (err error) {
	f := c.flags("token new", "makes an API token, which is shown once")
	data := f.String("data", defaultData, "`DIR` of the engine's data root")
	name := f.String("operator", "", "`NAME` of the operator that the token acts for")
	label := f.String("label", "", "`TEXT` that says what the token is for")
	ttl := ttlFlag{30 * 24 * time.Hour}
	f.Var(&ttl, "ttl", "`TIME` until the token expires, such as 12h or 30d")
	asJSON := f.Bool("json", false, "print one JSON object")
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	if *name == "" {
		return &usageError{"--operator is missing"}
	}
	s, err := dataRoot(*data).openStore(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	token, err := addToken(ctx, s, *name, *label, ttl.Duration)
	if err != nil {
		return err
	}
	if *asJSON {
		return c.printJSON(struct {
			Token string `json:"token"`
		}{token})
	}
	_, err = fmt.Fprintln(c.stdout, token)
	return err
}

// addToken makes an API token for an operator and returns it.
func addToken(ctx context.Context, s *store.Store, operator, label string, ttl time.Duration) (string, error) {
	o, err := s.OperatorByName(ctx, operator)
	if errors.Is(err, store.ErrNotFound) {
		return "", &hintError{fmt.Errorf("there is no operator named %q", operator), "add one with \"borealis operator add NAME\""}
	} else if err != nil {
		return "", err
	}
	token, hash := handlers.NewAPIToken()
	now := time.Now()
	_, err = s.AddAPIToken(ctx, hash, store.APIToken{OperatorID: o.ID, Label: label, CreatedAt: now, ExpiresAt: now.Add(ttl)})
	return token, err
}

// A ttlFlag is a duration that may also be given in days.
type ttlFlag struct{ time.Duration }

// Set reads 90m, 12h or 30d.
func (t *ttlFlag) Set(s string) error {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return errors.New("use a time such as 90m, 12h or 30d")
	}
	t.Duration = d
	return nil
}
