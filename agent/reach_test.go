package agent_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"borealis/agent"
	"borealis/tunnel/keys"
)

func TestReach(t *testing.T) {
	t.Parallel()
	if _, err := agent.Reach(t.Context(), t.TempDir()); !errors.Is(err, keys.ErrNotEnrolled) {
		t.Errorf("before enrolment: %v, want ErrNotEnrolled", err)
	}
	e, other := newEngine(t), newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	r, err := agent.Reach(t.Context(), d.data) // Beside the agent that runs.
	if err != nil || r.Address != e.address || r.Engine != e.keys.Identity.Pin() || r.Took <= 0 || r.Ahead.Abs() > 2*time.Second {
		t.Errorf("it reaches %+v, %v", r, err)
	}
	select {
	case <-c.gone:
		t.Errorf("the agent's channel ended: %v", c.why)
	default:
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if err := keys.SaveAgent(vpnClient(d.data), e.keys.Identity.Pin(), other.address); err != nil {
		t.Fatal(err)
	}
	if _, err := agent.Reach(t.Context(), d.data); err == nil {
		t.Error("it reaches another engine")
	} else if _, is := errors.AsType[*agent.PinError](err); !is {
		t.Errorf("another engine: %v, want a PinError", err)
	}
	revoked := newEngine(t)
	revoked.admit = func(keys.Pin) error { return errors.New("revoked") }
	if err := keys.SaveAgent(vpnClient(d.data), revoked.keys.Identity.Pin(), revoked.address); err != nil {
		t.Fatal(err)
	}
	if _, err := agent.Reach(t.Context(), d.data); err == nil || !strings.Contains(err.Error(), "refuses this device's identity") {
		t.Errorf("revoked: %v", err)
	}
}
