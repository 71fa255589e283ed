package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"borealis/agent/service"
	"borealis/agent/setup"
	"borealis/agent/wire"
)

// TestMain makes this program the service that its test installs.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "service" && os.Args[2] == "run" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// TestInstall installs this program as the agent of this machine, which is why it is not
// parallel and wants a machine without one.
func TestInstall(t *testing.T) {
	if s, err := service.Query(setup.ServiceName); err != nil || s.Installed {
		t.Fatalf("this machine has an agent, which this test would replace: %+v, %v", s, err)
	}
	_, code := engine(t, "pending")
	data := t.TempDir()
	t.Cleanup(func() { say(t, exitDone, "uninstall", "--purge", "--data", data) })

	if _, errs := say(t, exitFailed, "install", "--data", data); !strings.Contains(errs, "install with --code STRING") {
		t.Errorf("without a code it says %s", errs)
	}
	if _, errs := say(t, exitFailed, "install", "--data", data, "--code", "brl1.x"); !strings.Contains(errs, "copy the whole code") {
		t.Errorf("with half a code it says %s", errs)
	}
	wrong := code
	wrong.Pin[0]++
	if _, errs := say(t, exitFailed, "install", "--data", data, "--code", wrong.String()); !strings.Contains(errs, "is not the expected engine") || !strings.Contains(errs, "The machine is as it was before") {
		t.Errorf("with the code of another engine it says %s", errs)
	}
	if s, err := service.Query(setup.ServiceName); err != nil || s.Installed {
		t.Fatalf("after that there is %+v, %v", s, err)
	}

	out, errs := say(t, exitDone, "install", "--data", data, "--code", code.String(), "--link", "netstack")
	for _, want := range []string{"The agent is installed and runs.", "device   device-1", "state    pending", "engine   " + code.Address, "Compare the words", deviceOf(t, data).Words()} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out+errs, code.Secret) {
		t.Errorf("it tells the secret:\n%s\n%s", out, errs)
	}
	logOf(t, data, "msg=agent_unreachable") // The service runs, and asks for its engine.
	s, err := service.Query(setup.ServiceName)
	if err != nil || !s.Running || !strings.HasSuffix(s.Command, `--link netstack`) {
		t.Errorf("the service is %+v, %v", s, err)
	}

	// Where it is, and what it is to do, it knows by itself.
	out, _ = say(t, exitDone, "install", "--json")
	var report setup.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || !report.Present || report.Data != data || report.Address != code.Address {
		t.Errorf("again it says %s, %v", out, err)
	}
	other := wire.Code{Address: code.Address, Pin: wrong.Pin, Secret: wire.NewSecret()}
	if _, errs = say(t, exitFailed, "install", "--code", other.String()); !strings.Contains(errs, "this device belongs to another engine") || !strings.Contains(errs, "--replace") {
		t.Errorf("with another engine it says %s", errs)
	}
	if now, err := service.Query(setup.ServiceName); err != nil || now.PID != s.PID {
		t.Errorf("the service is %+v, was %+v, %v", now, s, err)
	}

	before := deviceOf(t, data)
	if out, _ = say(t, exitDone, "install", "--code", code.String(), "--replace"); !strings.Contains(out, "device-1") || deviceOf(t, data) == before {
		t.Errorf("replaced, it says\n%s", out)
	}

	out, _ = say(t, exitDone, "uninstall")
	for _, want := range []string{"removed  the service BorealisAgent", "left     The device in the engine's console", "uninstall --purge"} {
		if !strings.Contains(out, want) {
			t.Errorf("uninstalled, it does not say %q:\n%s", want, out)
		}
	}
	out, _ = say(t, exitDone, "uninstall", "--purge", "--data", data, "--json")
	var removal setup.Removal
	if err := json.Unmarshal([]byte(out), &removal); err != nil || len(removal.Removed) == 0 {
		t.Errorf("purged, it says %s, %v", out, err)
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("purged: %v", err)
	}
}
