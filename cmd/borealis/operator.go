package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

func (c *console) operatorAdd(ctx context.Context, args []string) (err error) {
	f := c.flags("operator add NAME", "adds an operator; prints the password once")
	data := f.String("data", defaultData, "`DIR` of the engine's data root")
	role := f.String("role", "operator", "`ROLE`: operator or admin")
	asJSON := f.Bool("json", false, "print one JSON object")
	words, err := c.parse(f, args, "NAME")
	if err != nil {
		return err
	}
	if !slices.Contains([]string{"operator", "admin"}, *role) {
		return &usageError{fmt.Sprintf("--role %q: use operator or admin", *role)}
	}
	s, err := dataRoot(*data).openStore(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	password, err := addOperator(ctx, s, words[0], *role)
	if err != nil {
		return err
	}
	if *asJSON {
		return c.printJSON(struct {
			Operator string `json:"operator"`
			Password string `json:"password"`
		}{words[0], password})
	}
	_, err = fmt.Fprintf(c.stdout, "operator  %s\npassword  %s\n", words[0], password)
	return err
}
