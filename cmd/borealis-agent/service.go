package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"borealis/agent"
	"borealis/agent/service"
	"borealis/agent/setup"
	"borealis/tunnel/wg"
)

// important are the messages that go to the event log although nothing is wrong: when the
// service and its tunnels come and go.
var important = []string{"service_started", "service_stopped", "agent_connected", "tunnel_up", "tunnel_down"}

// runService is what the service manager starts: "service run".
func runService(_ context.Context, args []string, stderr io.Writer) error {
	if len(args) == 0 || args[0] != "run" {
		return fmt.Errorf("%w: the service manager says \"service run\"; \"borealis-agent run\" is for people", errUsage)
	}
	f := flags("service run", stderr)
	data := f.String("data", defaultData(), "`DIR` of the agent's data root")
	link := f.String("link", string(wg.Auto), linkUsage)
	if err := parse(f, args[1:]); err != nil {
		return err
	}
	mode, err := linkMode(*link)
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program that runs: %w", err)
	}
	c := agent.Config{Data: *data, Link: mode, Version: version(), Exe: exe}
	return service.Run(setup.ServiceName, func(ctx context.Context, events <-chan service.Event) error {
		return serve(ctx, c, events)
	})
}

const linkUsage = "the WireGuard interface: auto|wireguard-nt|netstack"

// linkMode checks what --link says.
func linkMode(link string) (wg.Mode, error) {
	switch mode := wg.Mode(link); mode {
	case wg.Auto, wg.NT, wg.Netstack:
		return mode, nil
	}
	return "", fmt.Errorf("%w: --link %q: use auto, wireguard-nt or netstack", errUsage, link)
}

// serve runs the agent until ctx ends, with its log in a file and in the event log. An
// error is for the service manager: it starts the service again.
func serve(ctx context.Context, c agent.Config, events <-chan service.Event) (err error) {
	file, err := openLog(c.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	handlers := []slog.Handler{slog.NewTextHandler(file, nil)}
	l, noEvents := service.NewLog(setup.DisplayName, important...)
	if noEvents == nil {
		defer func() { err = errors.Join(err, l.Close()) }()
		handlers = append(handlers, l)
	}
	c.Logger = slog.New(slog.NewMultiHandler(handlers...))
	if noEvents != nil {
		c.Logger.WarnContext(ctx, "event_log_closed", "err", noEvents)
	}
	c.Logger.InfoContext(ctx, "service_started", "version", c.Version, "pid", os.Getpid())
	if err = keepInTouch(ctx, c, events); err != nil && !errors.Is(err, agent.ErrRestart) {
		c.Logger.ErrorContext(ctx, "service_failed", "err", err)
		return err
	}
	c.Logger.InfoContext(ctx, "service_stopped", "restarts", err != nil)
	return err
}

// keepInTouch runs the agent, and tells it when the way to the engine may have changed.
func keepInTouch(ctx context.Context, c agent.Config, events <-chan service.Event) error {
	a, err := agent.Open(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	defer cancel()
	for {
		select {
		case err := <-ended:
			return err
		case e := <-events:
			a.Nudge(e.String())
		}
	}
}
