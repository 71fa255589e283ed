package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"borealis/agent"
	"borealis/agent/limits"
)

// TestPanicCommand stops and releases, as often as one likes, and the other commands tell of it.
func TestPanicCommand(t *testing.T) {
	t.Parallel()
	if _, errs := say(t, exitFailed, "panic", "--data", t.TempDir()); !strings.Contains(errs, "there is no agent in ") {
		t.Errorf("without an agent it says %s", errs)
	}
	data, _ := enrolled(t)
	if out, _ := say(t, exitDone, "panic", "--release", "--data", data); out != "Tunnels were not stopped.\n" {
		t.Errorf("before a stop it says %s", out)
	}
	for range 2 {
		if out, _ := say(t, exitDone, "panic", "--data", data); !strings.Contains(out, "All tunnels are stopped") || !strings.Contains(out, "panic --release") {
			t.Errorf("it says %s", out)
		}
	}
	const sentence = "Somebody at the device stopped all tunnels (panic stop)."
	if out, _ := say(t, exitDone, "status", "--data", data); !strings.Contains(out, "policy  "+sentence+"\n") {
		t.Errorf("the status is\n%s", out)
	}
	if out, _ := say(t, exitDone, "status", "--json", "--data", data); !strings.Contains(out, `"panic":true`) || !strings.Contains(out, sentence) {
		t.Errorf("the status is %s", out)
	}
	if out, _ := say(t, exitFailed, "doctor", "--data", data); !strings.Contains(out, "BAD  panic      somebody at the device stopped all tunnels (panic stop), on 2") {
		t.Errorf("the doctor says\n%s", out)
	}
	if out, _ := say(t, exitDone, "panic", "--release", "--data", data); !strings.Contains(out, "allowed again") {
		t.Errorf("after a stop it says %s", out)
	}
	if out, _ := say(t, exitDone, "status", "--json", "--data", data); !strings.Contains(out, `"panic":false`) {
		t.Errorf("the status is %s", out)
	}
}

// TestPanicSaysThatATunnelIsLeft when the agent does not do as it should.
func TestPanicSaysThatATunnelIsLeft(t *testing.T) {
	t.Parallel()
	data, _ := enrolled(t)
	running(t, data, connected)
	if _, errs := say(t, exitFailed, "panic", "--data", data); !strings.Contains(errs, "one is still there") || !strings.Contains(errs, "stop the service") {
		t.Errorf("it says %s", errs)
	}
	if _, stopped := limits.Load(agent.PolicyFile(data)).Stopped(); !stopped {
		t.Error("and nothing is stopped")
	}
}

// TestPanicNeedsNoKeys: it works on a device whose agent is broken.
func TestPanicNeedsNoKeys(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, "Agent"), 0o700); err != nil {
		t.Fatal(err)
	}
	say(t, exitDone, "panic", "--data", data)
	if _, stopped := limits.Load(agent.PolicyFile(data)).Stopped(); !stopped {
		t.Error("nothing is stopped")
	}
}
