package main

import (
	"context"
	"fmt"

	"borealis/cmd/borealis/selftest"
	"borealis/cmd/hint"
	"borealis/tunnel/wg"
)

func (c *console) selftest(ctx context.Context, args []string) error {
	f := c.flags("selftest", "tries the whole product on this host: needs no data and no root, and leaves nothing behind")
	config := selftest.Config{Stderr: c.stderr}
	link := f.String("link", "auto", "auto, tun (in a network of its own, with this host's packet filter), or netstack (inside the process)")
	f.StringVar(&config.Report, "report", "", "`DIR` to write validation-report.json, validation-report.md and support.zip to")
	f.BoolVar(&config.Quiet, "json", false, "print one JSON object")
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	switch config.Link = wg.Mode(*link); config.Link {
	case wg.Auto, wg.TUN, wg.Netstack:
	default:
		return hint.Usage(fmt.Sprintf("--link %q: use auto, tun or netstack", *link))
	}
	r, err := selftest.Run(ctx, config)
	if err != nil {
		return err
	}
	if selftest.Inside() { // for the one outside to tell
		return c.printJSON(r)
	}
	return c.tellSelftest(r, config)
}

// tellSelftest prints what came of it, and returns an error when something failed.
func (c *console) tellSelftest(r *selftest.Report, config selftest.Config) error {
	if config.Quiet {
		if err := c.printJSON(r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.stderr, "\n%d of %d checks passed in %.1f s (%s: %s)\n", len(r.Checks)-r.Failed(), len(r.Checks), r.Took/1000, r.Link, r.Reason)
		if config.Report != "" {
			fmt.Fprintf(c.stderr, "The report is in %s.\n", config.Report)
		}
	}
	if n := r.Failed(); n > 0 {
		return &hint.Error{Err: fmt.Errorf("%d of %d checks failed", n, len(r.Checks)), Hint: "each one that failed says what to do; with --report DIR everything that support needs is kept"}
	}
	return nil
}
