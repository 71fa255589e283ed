package engine

import (
	"context"
	"fmt"
)

// Status says how the engine does, in a line for people.
func (e *Engine) Status(ctx context.Context) string {
	if err := e.Healthy(ctx); err != nil {
		return fmt.Sprintf("unhealthy: %v", err)
	}
	st := e.Manager.Stats()
	live := 0
	for _, n := range st.Tunnels {
		live += n
	}
	text := fmt.Sprintf("serving; %s, %s", counted(st.Agents, "agent"), counted(live, "tunnel"))
	if err := e.Manager.Link().Err; err != nil {
		text += fmt.Sprintf("; %v", err)
	} else if err := e.Manager.Firewall().Err; err != nil {
		text += fmt.Sprintf("; the host's firewall: %v", err)
	}
	if err := e.Manager.Recording(); err != nil {
		text += fmt.Sprintf("; %v", err)
	}
	return text
}

// Await waits until the agent of a device is connected, or, with online false, is not any more. Its
// error is why ctx ended before that.
func (e *Engine) Await(ctx context.Context, device string, online bool) error {
	events, stop := e.Manager.Watch()
	defer stop()
	for {
		if _, is := e.Manager.Online(device); is == online {
			return nil
		}
		select {
		case <-events:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
