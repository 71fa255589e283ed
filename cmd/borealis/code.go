package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"text/tabwriter"
	"time"

	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
	"borealis/store"
)

const (
	maxCodeTTL  = 7 * 24 * time.Hour
	maxCodeUses = 10000
)

func (c *console) codeNew(ctx context.Context, args []string) error {
	f := c.flags("code new", "makes an enrolment code for agents")
	data := dataFlag(f)
	address := f.String("engine", "", "`HOST:PORT` that agents dial; empty means the one of the engine that served last")
	code := store.Code{CreatedBy: "console"}
	f.IntVar(&code.Uses, "uses", 1, "`NUMBER` of devices that may enrol with it")
	ttl := ttlFlag{time.Hour}
	f.Var(&ttl, "ttl", "`TIME` until the code expires, at most 7d")
	f.BoolVar(&code.AutoApprove, "auto-approve", false, "let the devices in without an administrator's approval; such a code lives for 1h and 100 uses at most")
	f.StringVar(&code.Site, "site", "", "`NAME` of the site that the devices belong to")
	asJSON := f.Bool("json", false, "print one JSON object")
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	switch {
	case ttl.Duration > maxCodeTTL:
		return hint.Usage(fmt.Sprintf("--ttl %s: a code lives for 7d at most", ttl.Duration))
	case code.Uses < 1 || code.Uses > maxCodeUses:
		return hint.Usage(fmt.Sprintf("--uses %d: use a number from 1 to %d", code.Uses, maxCodeUses))
	case code.AutoApprove && (ttl.Duration > store.MaxAutoLife || code.Uses > store.MaxAutoUses):
		return hint.Usage(fmt.Sprintf("--auto-approve: a code that approves by itself lives for %s and %d uses at most", store.MaxAutoLife, store.MaxAutoUses))
	}
	root := engine.Root(*data)
	return root.With(ctx, func(s *store.Store) error {
		at, err := agentAddress(ctx, s, *address)
		if err != nil {
			return err
		}
		pin, err := root.Pin()
		if err != nil {
			return err
		}
		code.CreatedAt = time.Now()
		code.ExpiresAt = code.CreatedAt.Add(ttl.Duration)
		text, err := engine.AddCode(ctx, s, pin, at, code)
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
	})
}

// agentAddress is the address that agents dial: the given one, or else the one of the
// engine that served last.
func agentAddress(ctx context.Context, s *store.Store, given string) (string, error) {
	if given == "" {
		last, err := s.Setting(ctx, engine.AddressSetting)
		if errors.Is(err, store.ErrNotFound) || err == nil && last == "" {
			return "", &hint.Error{Err: errors.New("the engine's address is not known: it has not served yet"), Hint: "say it with --engine HOST:PORT"}
		}
		return last, err
	}
	if _, _, err := net.SplitHostPort(given); err != nil {
		return "", hint.Usage(fmt.Sprintf("--engine %q: use HOST:PORT", given))
	}
	return given, nil
}

// A codeLine is one enrolment code in the list; its secret is not kept.
type codeLine struct {
	ID          string    `json:"id"`
	Uses        int       `json:"uses"`
	Used        int       `json:"used"`
	AutoApprove bool      `json:"auto_approve"`
	Site        string    `json:"site"`
	CreatedBy   string    `json:"created_by"`
	ExpiresAt   time.Time `json:"expires_at"`
}

func (c *console) codeList(ctx context.Context, args []string) error {
	f := c.flags("code list", "lists the enrolment codes")
	data := dataFlag(f)
	asJSON := f.Bool("json", false, "print one JSON object")
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	return engine.Root(*data).With(ctx, func(s *store.Store) error {
		all, err := s.Codes(ctx)
		if err != nil {
			return err
		}
		lines := make([]codeLine, 0, len(all))
		for _, k := range all {
			lines = append(lines, codeLine{k.ID, k.Uses, k.Used, k.AutoApprove, k.Site, k.CreatedBy, k.ExpiresAt})
		}
		if *asJSON {
			return c.printJSON(struct {
				Codes []codeLine `json:"codes"`
			}{lines})
		}
		out := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(out, "ID\tUSED\tSITE\tBY\tEXPIRES")
		for _, l := range lines {
			fmt.Fprintf(out, "%s\t%d of %d\t%s\t%s\t%s\n", l.ID, l.Used, l.Uses, l.Site, l.CreatedBy, l.ExpiresAt.UTC().Format(time.RFC3339))
		}
		return out.Flush()
	})
}

func (c *console) codeRemove(ctx context.Context, args []string) error {
	f := c.flags("code remove ID", "takes an enrolment code out of use; the devices it brought in stay")
	data := dataFlag(f)
	named, err := c.parse(f, args, "ID")
	if err != nil {
		return err
	}
	return engine.Root(*data).With(ctx, func(s *store.Store) error {
		err := s.DeleteCode(ctx, named[0], engine.LocalRecord())
		if errors.Is(err, store.ErrNotFound) {
			return &hint.Error{Err: fmt.Errorf("there is no enrolment code with the id %q", named[0]), Hint: "\"borealis code list\" shows all"}
		}
		return err
	})
}
