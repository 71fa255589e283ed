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
	"strings"
	"syscall"

	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
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
  borealis backup   FILE | new-key FILE                        everything in one encrypted file
  borealis restore  FILE                                       a data root of a backup
  borealis selftest try the whole product on this host, with a report; needs no data and no root
  borealis doctor   why does it not work? looks at everything and says what to do
  borealis support  write what support needs into a FILE, without secrets
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
	if _, ok := errors.AsType[hint.Usage](err); ok {
		return exitUsage
	}
	if h, ok := errors.AsType[*hint.Error](err); ok {
		fmt.Fprintf(stderr, "borealis: hint: %s\n", h.Hint)
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
		"backup": c.backup, "backup new-key": c.backupNewKey, "restore": c.restore,
		"selftest": c.selftest, "doctor": c.doctor, "support": c.support,
		"version": c.version,
	}
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(c.stderr, usage)
		if len(args) == 0 {
			return hint.Usage("say which command")
		}
		return nil
	}
	for n := min(2, len(args)); n > 0; n-- {
		if f := commands[strings.Join(args[:n], " ")]; f != nil {
			return f(ctx, args[n:])
		}
	}
	return hint.Usage(fmt.Sprintf("there is no command %q; run \"borealis help\" for the list", strings.Join(args[:min(2, len(args))], " ")))
}

func (c *console) version(context.Context, []string) error {
	_, err := fmt.Fprintln(c.stdout, "borealis", engine.Version())
	return err
}
