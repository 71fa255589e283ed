package agent_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"borealis/agent"
	"borealis/agent/inventory"
	"borealis/agent/limits"
	"borealis/agent/wire"
)

// inventory waits for what the agent says that its device is made of.
func (c *channel) inventory(t *testing.T) wire.Inventory {
	t.Helper()
	select {
	case i := <-c.reported:
		return i
	case <-c.gone:
		t.Fatalf("the channel ended: %v", c.why)
	case <-time.After(patience):
		t.Fatal("the agent says nothing of its device")
	}
	return wire.Inventory{}
}

// TestInventory: on each connection the agent says what the device is made of, what its
// tunnels stand on, and what its own policy forbids.
func TestInventory(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	i := e.channel(t).inventory(t)
	if i.Edition != inventory.Edition() || i.Cores < 1 || i.Memory <= 0 || i.Booted.IsZero() {
		t.Errorf("%+v", i)
	}
	if i.Link != "netstack" || i.LinkReason == "" || i.Driver != "" || len(i.Limits) != 0 {
		t.Errorf("link %q because %q, driver %q, limits %q", i.Link, i.LinkReason, i.Driver, i.Limits)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(agent.PolicyFile(d.data), []byte(`{"never_ports":["3389/tcp"],"no_updates":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	d.run(t)
	i = e.channel(t).inventory(t)
	if len(i.Limits) != 2 || !strings.Contains(strings.Join(i.Limits, " "), "3389/tcp") {
		t.Errorf("with a policy: %q", i.Limits)
	}
}

// TestOwnersDecisionsAreTold: a panic stop and the local policy reach the engine on the connection
// that is there, when they come and when they go, and on the next one when they came without.
func TestOwnersDecisionsAreTold(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	first := c.inventory(t)
	policy := agent.PolicyFile(d.data)
	local := limits.Load(policy)
	decide := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// told waits until the engine is told exactly that; half a file may be told before.
	told := func(words ...string) {
		t.Helper()
		for {
			i := c.inventory(t)
			if i.CPU != first.CPU || i.Memory != first.Memory {
				t.Errorf("the device is %+v, and was %+v", i, first)
			}
			if len(i.Limits) == len(words) && holds(strings.Join(i.Limits, " "), words) {
				return
			}
		}
	}
	decide(local.Stop())
	told("panic stop")
	decide(os.WriteFile(policy, []byte(`{"no_terminal":true}`), 0o600))
	told("panic stop", "No terminal")
	decide(local.Release())
	told("No terminal")
	decide(os.WriteFile(policy, []byte(`{}`), 0o600))
	told()

	e.stop()
	d.log.expect(t, "msg=agent_disconnected")
	decide(local.Stop())
	e.serve(t, e.address)
	c = e.channel(t)
	told("panic stop")
}
