// Command borealis is the engine and its administration in one binary.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop() // from here on a second signal kills
	os.Exit(code)
}

const usage = `Borealis: live shells and chosen ports of Windows machines behind NAT, over WireGuard.

  borealis demo     try it: engine, agent and terminal in one process, without root
  borealis init     make the data root of an engine and its first administrator
  borealis serve    run the engine
  borealis operator add NAME     add an operator
  borealis token new             make an API token
  borealis code new              make an enrolment code for agents
  borealis version

"borealis COMMAND -h" lists the flags of a command. Each flag can also be set in the
environment: --udp-port is BOREALIS_UDP_PORT.
`

// Exit codes, a contract with scripts.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// A console is where a command reads its settings from and writes to.
type console struct {
	stdout io.Writer // results, and nothing else
	stderr io.Writer // text for people
	getenv func(string) string
}

// run is main without the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := &console{stdout: stdout, stderr: stderr, getenv: os.Getenv}
	err := c.dispatch(ctx, args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return exitDone
	}
	fmt.Fprintf(stderr, "borealis: %v\n", err)
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if h, ok := errors.AsType[*hintError](err); ok {
		fmt.Fprintf(stderr, "borealis: hint: %s\n", h.hint)
	}
	return exitFailed
}

func (c *console) dispatch(ctx context.Context, args []string) error {
	commands := map[string]func(context.Context, []string) error{
		"demo": c.demo, "init": c.init, "serve": c.serve,
		"operator add": c.operatorAdd, "token new": c.tokenNew, "code new": c.codeNew,
		"version": c.version,
	}
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(c.stderr, usage)
		if len(args) == 0 {
			return &usageError{"say which command"}
		}
		return nil
	}
	for n := min(2, len(args)); n > 0; n-- {
		if f := commands[strings.Join(args[:n], " ")]; f != nil {
			return f(ctx, args[n:])
		}
	}
	return &usageError{fmt.Sprintf("there is no command %q; run \"borealis help\" for the list", strings.Join(args[:min(2, len(args))], " "))}
}

func (c *console) version(context.Context, []string) error {
	_, err := fmt.Fprintln(c.stdout, "borealis", version())
	return err
}

// version is the module version that the binary was built from.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "0.1.0-dev"
}

// A usageError is a command line that cannot be understood.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// A hintError is an error whose reader is told what to do next.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }
