// Package selftest runs the product on the host of whoever wants to know whether it works there.
//
// An engine, agents, and somebody who attacks them run in one process, with data that is gone
// afterwards. Where the host allows it, all of that happens in a network of its own, so that the
// host's own packet filter and TUN device are put to the test and its own network is not touched.
package selftest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"borealis/cmd/borealis/support"
	"borealis/cmd/hint"
	"borealis/tunnel/wg"
)

const (
	limit      = time.Minute      // for all checks together; what is left then counts as failed
	checkLimit = 20 * time.Second // for one
)

// inside says to a self-test that it was started in a network of its own, and why.
const inside = "BOREALIS_SELFTEST_INSIDE"

// A Check is one thing that was tried. In JSON it is a contract with scripts, and
// so are the names of groups and checks.
type Check struct {
	Group  string  `json:"group"` // functional, security, resilience or logging
	Name   string  `json:"name"`
	OK     bool    `json:"ok"`
	Detail string  `json:"detail"` // what was seen
	Hint   string  `json:"hint"`   // what to do; "" when all is well
	Took   float64 `json:"ms"`
}

// A Report is what came of it all.
type Report struct {
	OK      bool         `json:"ok"`
	Version string       `json:"version"`
	Host    support.Host `json:"host"`
	Link    string       `json:"link"`   // what WireGuard stood on: tun or netstack
	Reason  string       `json:"reason"` // why
	Began   time.Time    `json:"began"`
	Took    float64      `json:"took_ms"`
	Checks  []Check      `json:"checks"`
}

// Failed counts the checks that failed.
func (r *Report) Failed() int {
	n := 0
	for _, c := range r.Checks {
		if !c.OK {
			n++
		}
	}
	return n
}

// Config says how to test.
type Config struct {
	Link    wg.Mode   // TUN in a network of its own, Netstack inside the process, or Auto: what can be had
	UDPPort int       // of WireGuard inside the process; 0: any
	Report  string    // folder for the report and a support bundle, in which no other is; "": there is none
	Quiet   bool      // say nothing about checks while they are made
	Stderr  io.Writer // what is said while it runs
}

// Run makes all checks, in a network of its own where that is wanted and can be had, which takes
// this program started again with its command "selftest". It leaves nothing behind but the report.
// The error is for what kept it from testing: a check that failed is in the report.
func Run(ctx context.Context, config Config) (*Report, error) {
	if config.Report != "" { // before a minute is spent
		if err := reportable(config.Report); err != nil {
			return nil, err
		}
	}
	if reason := os.Getenv(inside); reason != "" {
		return test(ctx, config, wg.TUN, reason)
	}
	why := "asked for with --link netstack"
	if config.Link != wg.Netstack {
		r, err := inOwnNetwork(ctx, config)
		refused, without := errors.AsType[*noNamespaceError](err)
		if !without {
			return r, err
		}
		if config.Link == wg.TUN {
			return nil, &hint.Error{Err: err, Hint: refused.hint}
		}
		why = refused.Error() + "; " + refused.hint
	}
	return test(ctx, config, wg.Netstack, why)
}

// Inside reports whether this process is a self-test that another one has started in a network of
// its own, and that prints its report as JSON for it.
func Inside() bool { return os.Getenv(inside) != "" }

// A noNamespaceError says why there is no network of one's own to be had.
type noNamespaceError struct {
	what string
	err  error
	hint string
}

func (e *noNamespaceError) Error() string { return fmt.Sprintf("%s: %v", e.what, e.err) }

func (e *noNamespaceError) Unwrap() error { return e.err }

// reportable makes the folder of a report and sees to it that no report is overwritten.
func reportable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &hint.Error{Err: fmt.Errorf("make the folder of the report: %w", err), Hint: "name another one with --report"}
	}
	for _, name := range []string{reportJSON, reportText, reportBundle} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return &hint.Error{Err: fmt.Errorf("there is a %s in %s already", name, dir), Hint: "name another folder with --report"}
		}
	}
	return nil
}
