package agent_test

import (
	"os"
	"path/filepath"
	"testing"

	"borealis/agent"
	"borealis/agent/wire"
)

// TestStatusHasTheTunnel as long as it is there. Nobody else may read it.
func TestStatusHasTheTunnel(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	c.up(t, c.offer(t, "tunnel-1"))
	d.written(t, "in a tunnel", func(s agent.Status, _ bool) bool { return s.Tunnel == "tunnel-1" })
	c.send(t, wire.FromEngine{Stop: &wire.Stop{Tunnel: "tunnel-1", Reason: "operator_left"}})
	d.written(t, "after it", func(s agent.Status, _ bool) bool { return s.Tunnel == "" })
	info, err := os.Stat(filepath.Join(d.data, "Agent", "status.json"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v", info.Mode())
	}
}
