package tunnel

import (
	"errors"
	"testing"

	"borealis/agent/wire"
	"borealis/store"
)

// TestShellByName: a shell is asked for by name only where the agent can refuse it.
func TestShellByName(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	id := r.up(t, h, holder("nora")).TunnelID
	open := func(shell string) error {
		_, _, err := r.Terminal(t.Context(), holder("nora"), TerminalRequest{TunnelID: id, Shell: shell})
		return err
	}
	if err := open(wire.ShellCmd); !errors.Is(err, ErrShell) { // the host speaks protocol 0
		t.Errorf("an old agent was asked: %v", err)
	}
	r.channel(h.device.ID).hello.Protocol = wire.Protocol
	if err := open("fish"); !errors.Is(err, ErrShell) {
		t.Errorf("a shell of no name was asked for: %v", err)
	}
	if n := len(r.records(t, store.RecordQuery{TunnelID: id, Kind: "terminal_opened"})); n != 0 {
		t.Fatalf("%d terminals are on record", n)
	}
	if err := open(wire.ShellCmd); err != nil {
		t.Error(err)
	}
	opened := r.records(t, store.RecordQuery{TunnelID: id, Kind: "terminal_opened"})
	if len(opened) != 1 || opened[0].Detail != wire.ShellCmd {
		t.Errorf("on record: %+v", opened)
	}
}
