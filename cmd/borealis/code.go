package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"borealis/agent/wire"
	"borealis/handlers"
	"borealis/store"
	"borealis/tunnel/keys"
)

const (
	maxCodeTTL  = 7 * 24 * time.Hour
	maxCodeUses = 10000
)

func (c *console) codeNew(ctx context.Context, args []string) (err error) {
	f := c.flags("code new", "makes an enrolment code for agents")
	data := f.String("data", defaultData, "`DIR` of the engine's data root")
	address := f.String("engine", "", "`HOST:PORT` that agents dial; empty means the one of the engine that served last")
	code := store.Code{CreatedBy: "console"}
	f.IntVar(&code.Uses, "uses", 1, "`NUMBER` of devices that may enrol with it")
	ttl := ttlFlag{time.Hour}
	f.Var(&ttl, "ttl", "`TIME` until the code expires, at most 7d")
	f.BoolVar(&code.AutoApprove, "auto-approve", false, "let the devices in without an administrator's approval")
	f.StringVar(&code.Site, "site", "", "`NAME` of the site that the devices belong to")
	asJSON := f.Bool("json", false, "print one JSON object")
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	switch {
	case ttl.Duration > maxCodeTTL:
		return &usageError{fmt.Sprintf("--ttl %s: a code lives for 7d at most", ttl.Duration)}
	case code.Uses < 1 || code.Uses > maxCodeUses:
		return &usageError{fmt.Sprintf("--uses %d: use a number from 1 to %d", code.Uses, maxCodeUses)}
	}
	root := dataRoot(*data)
	s, err := root.openStore(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if *address == "" {
		if *address, err = s.Setting(ctx, addressSetting); errors.Is(err, store.ErrNotFound) || *address == "" {
			return &hintError{errors.New("the engine's address is not known: it has not served yet"), "say it with --engine HOST:PORT"}
		} else if err != nil {
			return err
		}
	}
	if _, _, err := net.SplitHostPort(*address); err != nil {
		return &usageError{fmt.Sprintf("--engine %q: use HOST:PORT", *address)}
	}
	code.CreatedAt = time.Now()
	code.ExpiresAt = code.CreatedAt.Add(ttl.Duration)
	text, err := addCode(ctx, s, root, *address, code)
	if err != nil {
		return err
	}
	if *asJSON {
		return c.printJSON(struct {
			Code string `json:"code"`
		}{text})
	}
	_, err = fmt.Fprintln(c.stdout, text)
	return err
}

// addCode makes a code and returns the string that an agent enrols with.
func addCode(ctx context.Context, s *store.Store, root dataRoot, address string, code store.Code) (string, error) {
	k, err := keys.OpenEngine(root.certificates(), nil)
	if err != nil {
		return "", fmt.Errorf("read the engine's identity: %w", err)
	}
	secret := wire.NewSecret()
	if _, err := s.AddCode(ctx, handlers.HashSecret(secret), code); err != nil {
		return "", err
	}
	return wire.Code{Address: address, Pin: k.Identity.Pin(), Secret: secret}.String(), nil
}
