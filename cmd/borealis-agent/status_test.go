package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"borealis/agent"
)

func TestStatusCommand(t *testing.T) {
	t.Parallel()
	if _, errs := say(t, exitFailed, "status", "--data", t.TempDir()); !strings.Contains(errs, "hint: enrol first") {
		t.Errorf("before enrolment it says %s", errs)
	}
	data, _ := enrolled(t)
	if out, _ := say(t, exitDone, "status", "--data", data); !strings.Contains(out, "agent   has not run yet\n") {
		t.Errorf("before the first run it prints\n%s", out)
	}
	if err := os.WriteFile(agent.PolicyFile(data), []byte(`{"no_terminal":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	running(t, data, connected)
	out, _ := say(t, exitDone, "status", "--data", data)
	for _, line := range []string{
		"agent   runs as process 7, version 1.2\n", "engine  engine:8443, connected since 2026-03-01 ", "device  active\n", "tunnel  tunnel-1\n",
		"link    wireguard-nt: The driver is there.\n", "driver  1.1\n", "policy  No terminal is allowed.\n",
	} {
		if !strings.Contains(out, line) {
			t.Errorf("it prints\n%swithout %q", out, line)
		}
	}
	out, _ = say(t, exitDone, "status", "--json", "--data", data)
	var s struct {
		Running, Connected bool
		PID                int
		Policy             []string
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil || !s.Running || !s.Connected || s.PID != 7 || len(s.Policy) != 1 {
		t.Errorf("it prints %s, %v", out, err)
	}
}

// TestStatusOfAnAgentThatIsGone does not pass off what it left as the present.
func TestStatusOfAnAgentThatIsGone(t *testing.T) {
	t.Parallel()
	data, _ := enrolled(t)
	t.Run("while it ran", func(t *testing.T) { running(t, data, connected) })
	out, _ := say(t, exitDone, "status", "--data", data)
	if !strings.Contains(out, "agent   does not run; it did until 2026-03-01 ") || strings.Contains(out, "connected since") {
		t.Errorf("it prints\n%s", out)
	}
	out, _ = say(t, exitDone, "status", "--json", "--data", data)
	if !strings.Contains(out, `"running":false`) || !strings.Contains(out, `"policy":[]`) {
		t.Errorf("it prints %s", out)
	}
}
