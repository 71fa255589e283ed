package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
	"borealis/store"
)

func (c *console) tokenNew(ctx context.Context, args []string) error {
	f := c.flags("token new", "makes an API token, which is shown once")
	data := dataFlag(f)
	name := f.String("operator", "", "`NAME` of the operator that the token acts for")
	label := f.String("label", "", "`TEXT` that says what the token is for")
	ttl := ttlFlag{30 * 24 * time.Hour}
	f.Var(&ttl, "ttl", "`TIME` until the token expires, such as 12h or 30d")
	asJSON := f.Bool("json", false, "print one JSON object")
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	if *name == "" {
		return hint.Usage("--operator is missing")
	}
	return engine.Root(*data).With(ctx, func(s *store.Store) error {
		token, err := engine.AddToken(ctx, s, *name, *label, ttl.Duration)
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
	})
}

// A tokenLine is one API token in the list.
type tokenLine struct {
	ID        string     `json:"id"`
	Operator  string     `json:"operator"`
	Label     string     `json:"label"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"` // null: never
}

func (c *console) tokenList(ctx context.Context, args []string) error {
	f := c.flags("token list", "lists the API tokens")
	data := dataFlag(f)
	asJSON := f.Bool("json", false, "print one JSON object")
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	return engine.Root(*data).With(ctx, func(s *store.Store) error {
		lines, err := tokenLines(ctx, s)
		if err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(struct {
				Tokens []tokenLine `json:"tokens"`
			}{lines})
		}
		out := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(out, "ID\tOPERATOR\tLABEL\tEXPIRES")
		for _, l := range lines {
			expires := "never"
			if l.ExpiresAt != nil {
				expires = l.ExpiresAt.UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", l.ID, l.Operator, l.Label, expires)
		}
		return out.Flush()
	})
}

func tokenLines(ctx context.Context, s *store.Store) ([]tokenLine, error) {
	operators, err := s.Operators(ctx)
	if err != nil {
		return nil, err
	}
	lines := []tokenLine{}
	for _, o := range operators {
		tokens, err := s.APITokens(ctx, o.ID)
		if err != nil {
			return nil, err
		}
		for _, t := range tokens {
			line := tokenLine{ID: t.ID, Operator: o.Name, Label: t.Label, CreatedAt: t.CreatedAt}
			if !t.ExpiresAt.IsZero() {
				line.ExpiresAt = &t.ExpiresAt
			}
			lines = append(lines, line)
		}
	}
	return lines, nil
}

func (c *console) tokenRemove(ctx context.Context, args []string) error {
	f := c.flags("token remove ID", "takes an API token out of use")
	data := dataFlag(f)
	named, err := c.parse(f, args, "ID")
	if err != nil {
		return err
	}
	return engine.Root(*data).With(ctx, func(s *store.Store) error {
		err := s.DeleteAPIToken(ctx, named[0], engine.LocalRecord())
		if errors.Is(err, store.ErrNotFound) {
			return &hint.Error{Err: fmt.Errorf("there is no API token with the id %q", named[0]), Hint: "\"borealis token list\" shows all"}
		}
		return err
	})
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
