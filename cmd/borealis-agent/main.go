// Command borealis-agent keeps a device in touch with its engine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"borealis/agent"
	"borealis/agent/release"
	"borealis/agent/service"
	"borealis/agent/shell"
	"borealis/tunnel/keys"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop() // from here on a second signal kills
	os.Exit(code)
}

const usage = `The Borealis agent: it dials out to its engine and waits to be asked for a tunnel.

  borealis-agent install --code STRING   put the agent on this device as a service, and enrol it (Windows)
  borealis-agent install                 repair or renew it on a device that is enrolled (Windows)
  borealis-agent uninstall [--purge]     take it off again (Windows)
  borealis-agent status [--json]         show what the agent is doing
  borealis-agent doctor [--json]         examine the agent, and say what to mend
  borealis-agent support FILE            put what helps to find a fault into a zip, without secrets
  borealis-agent panic [--release]       end the tunnel at once, and allow none until it is released
  borealis-agent move HOST:PORT          look for the same engine at another address
  borealis-agent fingerprint             show the words to compare with the console
  borealis-agent enrol --code STRING     make this device known to an engine
  borealis-agent run                     stay in touch with the engine, without a service
  borealis-agent version

Each flag can also be set in the environment: --data is BOREALIS_DATA.
`

// Exit codes, a contract with scripts.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

var errUsage = errors.New("usage")

// run is main without the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 && args[0] == shell.HostCommand { // not for people: the service starts it as the signed-in user
		return shell.Host(os.Stdin, stdout)
	}
	err := dispatch(ctx, args, stdout, stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitDone
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "borealis-agent: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "borealis-agent: %v\n", err)
	if hint := hintFor(err); hint != "" {
		fmt.Fprintln(stderr, "borealis-agent: hint:", hint)
	}
	return exitFailed
}

// hintFor says what to do about an error whose own words do not.
func hintFor(err error) string {
	switch {
	case errors.Is(err, keys.ErrNotEnrolled):
		return "enrol first: borealis-agent enrol --code STRING, with a code from the engine's console"
	case errors.Is(err, keys.ErrInUse):
		return "the service runs already; borealis-agent status shows what it does"
	case errors.Is(err, service.ErrNotElevated): // It says so itself.
	case errors.Is(err, fs.ErrPermission):
		return "use an elevated prompt, or root"
	}
	return ""
}

func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return fmt.Errorf("%w: say which command", errUsage)
	}
	switch args[0] {
	case "enrol":
		return enrol(ctx, args[1:], stdout, stderr)
	case "fingerprint":
		return fingerprint(args[1:], stdout, stderr)
	case "install":
		return install(ctx, args[1:], stdout, stderr)
	case "uninstall":
		return uninstall(ctx, args[1:], stdout, stderr)
	case "run":
		return runAgent(ctx, args[1:], stderr)
	case "status":
		return status(ctx, args[1:], stdout, stderr)
	case "doctor":
		return doctor(ctx, args[1:], stdout, stderr)
	case "support":
		return support(ctx, args[1:], stdout, stderr)
	case "panic":
		return panicStop(ctx, args[1:], stdout, stderr)
	case "move":
		return move(ctx, args[1:], stdout, stderr)
	case "service":
		return runService(ctx, args[1:], stderr)
	case "watch-update":
		return watchUpdate(ctx, args[1:], stdout, stderr)
	case "version":
		_, err := fmt.Fprintln(stdout, "borealis-agent", version())
		return err
	case "help", "-h", "--help":
		fmt.Fprint(stderr, usage)
		return nil
	}
	return fmt.Errorf("%w: there is no command %q", errUsage, args[0])
}

func runAgent(ctx context.Context, args []string, stderr io.Writer) (err error) {
	f := flags("run", stderr)
	data := f.String("data", defaultData(), "`DIR` of the agent's data root")
	link := f.String("link", "auto", linkUsage)
	shell := f.String("shell", "", "`PATH` of the shell; empty means the device's own")
	level := new(slog.Level)
	f.TextVar(level, "log-level", slog.LevelInfo, "log this `LEVEL` and what is graver: debug (every step of every tunnel), info, warn or error")
	if err := parse(f, args); err != nil {
		return err
	}
	mode, err := linkMode(*link)
	if err != nil {
		return err
	}
	file, err := openLog(*data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	log := slog.New(slog.NewMultiHandler(slog.NewTextHandler(file, &slog.HandlerOptions{Level: level}), slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})))
	a, err := agent.Open(agent.Config{Data: *data, Link: mode, Shell: *shell, Version: version(), Logger: log})
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

func flags(name string, stderr io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet("borealis-agent "+name, flag.ContinueOnError)
	f.SetOutput(stderr)
	return f
}

// parse reads the environment, then the arguments, of which all must be flags.
func parse(f *flag.FlagSet, args []string) error {
	var bad error
	f.VisitAll(func(one *flag.Flag) {
		key := "BOREALIS_" + strings.ToUpper(strings.ReplaceAll(one.Name, "-", "_"))
		if v := os.Getenv(key); v != "" {
			if err := f.Set(one.Name, v); err != nil {
				bad = fmt.Errorf("%w: %s=%q: %w", errUsage, key, v, err)
			}
		}
	})
	if bad != nil {
		return bad
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%w: %q is one word too many", errUsage, f.Arg(0))
	}
	return nil
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
