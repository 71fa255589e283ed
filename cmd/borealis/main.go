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

	"borealis/agent/release"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if err := harden(); err != nil {
		fmt.Fprintf(os.Stderr, "borealis: %v\n", err)
	}
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop() // from here on a second signal kills
	os.Exit(code)
}

const usage = `Borealis: live shells and chosen ports of Windows machines behind NAT, over WireGuard.

  borealis demo     try it: engine, agent and terminal in one process, without root
  borealis init     make the data root of an engine and its first administrator
  borealis serve    run the engine
  borealis operator add|list|role|reset|lock|unlock|remove     who may sign in
  borealis token    new|list|remove                            API tokens
  borealis code     new|list|remove                            enrolment codes for agents
  borealis device   list|approve|deny|quarantine|revoke|lock|unlock
  borealis site     lock|unlock
  borealis audit    verify|export                              the audit trail, also offline
  borealis keys     show|rotate                                the engine's identity
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
		"operator add": c.operatorAdd, "operator list": c.operatorList, "operator role": c.operatorRole,
		"operator reset": c.operatorReset, "operator lock": c.operatorLock, "operator unlock": c.operatorUnlock,
		"operator remove": c.operatorRemove,
		"token new":       c.tokenNew, "token list": c.tokenList, "token remove": c.tokenRemove,
		"code new": c.codeNew, "code list": c.codeList, "code remove": c.codeRemove,
		"device list": c.deviceList, "device approve": c.deviceApprove, "device deny": c.deviceDeny,
		"device quarantine": c.deviceQuarantine, "device revoke": c.deviceRevoke,
		"device lock": c.deviceLock, "device unlock": c.deviceUnlock,
		"site lock": c.siteLock, "site unlock": c.siteUnlock,
		"audit verify": c.auditVerify, "audit export": c.auditExport,
		"keys show": c.keysShow, "keys rotate": c.keysRotate,
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

// version is the release that the binary was built for, or else the module version that it
// was built from.
func version() string {
	if v := release.Version(); v != "" {
		return v
	}
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
