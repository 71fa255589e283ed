package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"borealis/agent"
	"borealis/agent/limits"
)

// How the end of the tunnel is waited for after a panic stop.
const (
	panicWait  = 10 * time.Second
	panicLooks = 50 * time.Millisecond
)

// panicStop ends the tunnel, whoever uses it, and allows no other until it is released. It works
// through a file that the running agent looks for, so that nothing on the device has to listen.
func panicStop(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("panic", stderr)
	data := f.String("data", installedData(), "`DIR` of the agent's data root")
	release := f.Bool("release", false, "allow tunnels again")
	if err := parse(f, args); err != nil {
		return err
	}
	policy := limits.Load(agent.PolicyFile(*data))
	if *release {
		err := policy.Release()
		if errors.Is(err, fs.ErrNotExist) {
			_, err = fmt.Fprintln(stdout, "Tunnels were not stopped.")
			return err
		}
		if err != nil {
			return fmt.Errorf("allow tunnels again: %w", err)
		}
		_, err = fmt.Fprintln(stdout, "Tunnels are allowed again, as far as the device's policy allows them.")
		return err
	}
	if err := policy.Stop(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no agent in %s: name its data root with --data: %w", *data, err)
		}
		return fmt.Errorf("stop all tunnels: %w; to stop them in another way, stop the service", err)
	}
	over, err := untilNoTunnel(ctx, *data)
	switch {
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist): // What the agent does cannot be seen, or it never ran.
	case err != nil:
		return fmt.Errorf("tunnels are stopped, but whether one is left is not known: %w", err)
	case !over:
		return fmt.Errorf("tunnels are stopped, but one is still there after %v: stop the service to end it", panicWait)
	}
	_, err = fmt.Fprintln(stdout, "All tunnels are stopped, with everything that ran in them. None is allowed, after a restart neither, until: borealis-agent panic --release")
	return err
}

// untilNoTunnel waits until the agent, if one runs, says that it has no tunnel.
func untilNoTunnel(ctx context.Context, data string) (over bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, panicWait)
	defer cancel()
	look := time.NewTicker(panicLooks)
	defer look.Stop()
	for {
		s, running, err := agent.ReadStatus(data)
		if err != nil || !running || s.Tunnel == "" {
			return err == nil, err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return false, nil
		}
	}
}
