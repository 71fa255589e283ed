package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"borealis/agent"
	"borealis/agent/checkup"
	"borealis/agent/limits"
	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// enrolled is the data root of a device that is enrolled with an engine that answers.
func enrolled(t *testing.T) (data string, code wire.Code) {
	t.Helper()
	_, code = engine(t, "active")
	data = t.TempDir()
	say(t, exitDone, "enrol", "--data", data, "--code", code.String())
	return data, code
}

// inVPNClient is the folder of a device's keys.
func inVPNClient(data string) string {
	return filepath.Join(data, "Agent", "Borealis", "Certificates", "VPN_Client")
}

// running makes it look as if an agent ran with a data root, and did what its status says.
func running(t *testing.T, data, status string) {
	t.Helper()
	release, err := keys.UseAgent(inVPNClient(data))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	if err := os.WriteFile(filepath.Join(data, "Agent", "status.json"), []byte(status), 0o600); err != nil {
		t.Fatal(err)
	}
}

const connected = `{"pid":7,"version":"1.2","connected":true,"state":"active","since":"2026-03-01T12:00:00Z","engine":"engine:8443",
	"tunnel":"tunnel-1","last_error":"","link":"wireguard-nt","link_reason":"The driver is there.","driver":"1.1","adapter":"Borealis","at":"2026-03-01T12:00:01Z"}`

// examined runs the doctor, and returns what it found by name.
func examined(t *testing.T, data string) (findings, map[string]checkup.Finding) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"doctor", "--json", "--data", data}, &out, &errs)
	var f findings
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	if (code == exitDone) != f.OK || !f.OK && !strings.Contains(errs.String(), "to be mended") {
		t.Errorf("it exits with %d and says %s, and all is well: %v", code, errs.String(), f.OK)
	}
	all := make(map[string]checkup.Finding)
	for _, c := range f.Checks {
		if all[c.Name].Name != "" {
			t.Errorf("%s is there twice", c.Name)
		}
		all[c.Name] = c
	}
	return f, all
}

func TestDoctorOfAHealthyDevice(t *testing.T) {
	t.Parallel()
	data, code := enrolled(t)
	running(t, data, connected)
	f, all := examined(t, data)
	for name, says := range map[string]string{
		"identity": deviceOf(t, data).Words(), "dns": "127.0.0.1 is an address", "tcp": code.Address, "engine": code.Pin.Words(), "clock": "as the engine's",
		"channel": "connected to engine:8443", "udp": "has no trial of the way", "mtu": "a tunnel needs 1480", "agent": "version 1.2", "panic": "nobody",
		"link": "wireguard-nt: The driver is there.", "terminal": "", "disk": "MB left", "policy": "nothing is forbidden", "update": "none was made",
	} {
		if c, there := all[name]; !there || !c.OK || !strings.Contains(c.Detail, says) {
			t.Errorf("%s: %+v, want %q", name, c, says)
		}
	}
	if f.Link != "wireguard-nt" || f.Adapter.Name != "Borealis" || f.Driver.Present || f.Driver.Reason == "" || !strings.HasPrefix(f.Driver.Path, data) {
		t.Errorf("link %q, adapter %q, driver %+v", f.Link, f.Adapter.Name, f.Driver)
	}
	if runtime.GOOS == "linux" { // Elsewhere there is no service in a test.
		if !f.OK {
			t.Errorf("not all is well: %+v", f)
		}
		out, _ := say(t, exitDone, "doctor", "--data", data)
		if strings.Contains(out, "BAD") || strings.Count(out, "\nok ") < 9 {
			t.Errorf("it prints\n%s", out)
		}
	}
}

// TestDoctorFindsWhatIsBroken, one thing after the other.
func TestDoctorFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		harm       func(t *testing.T, data string, code wire.Code) // To a healthy device.
		bad        string                                          // The check that finds it.
		says, hint string
	}{
		"no agent runs": {func(t *testing.T, data string, _ wire.Code) {
			if err := os.Remove(filepath.Join(data, "Agent", "status.json")); err != nil {
				t.Fatal(err)
			}
		}, "agent", "no agent runs", "start"},
		"not connected": {func(t *testing.T, data string, _ wire.Code) {
			status := strings.Replace(connected, `"connected":true`, `"connected":false`, 1)
			status = strings.Replace(status, `"last_error":""`, `"last_error":"nobody answers"`, 1)
			if err := os.WriteFile(filepath.Join(data, "Agent", "status.json"), []byte(status), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "channel", "nobody answers", "restart the agent"},
		"another engine answers": {func(t *testing.T, data string, code wire.Code) {
			other, err := keys.NewIdentity("other")
			if err != nil {
				t.Fatal(err)
			}
			if err := keys.SaveAgent(inVPNClient(data), other.Pin(), code.Address); err != nil {
				t.Fatal(err)
			}
		}, "engine", "is not the expected engine", "compare the pin"},
		"nobody answers": {func(t *testing.T, data string, code wire.Code) {
			if err := keys.SaveAgent(inVPNClient(data), code.Pin, "127.0.0.1:1"); err != nil {
				t.Fatal(err)
			}
		}, "tcp", "nothing listens there", "127.0.0.1:1"},
		"a name that does not exist": {func(t *testing.T, data string, code wire.Code) {
			if err := keys.SaveAgent(inVPNClient(data), code.Pin, "engine.invalid:8443"); err != nil {
				t.Fatal(err)
			}
		}, "dns", "engine.invalid", "move HOST:PORT"},
		"tunnels were stopped": {func(t *testing.T, data string, _ wire.Code) {
			if err := limits.Load(agent.PolicyFile(data)).Stop(); err != nil {
				t.Fatal(err)
			}
		}, "panic", "somebody at the device stopped all tunnels", "panic --release"},
		"a lost identity": {func(t *testing.T, data string, _ wire.Code) {
			if err := os.Remove(filepath.Join(inVPNClient(data), "identity.key")); err != nil {
				t.Fatal(err)
			}
		}, "identity", "identity.key is missing", ""},
		"a policy with a slip": {func(t *testing.T, data string, _ wire.Code) {
			if err := os.WriteFile(agent.PolicyFile(data), []byte(`{"no_terminals":true}`), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "policy", "no_terminals", "mend the file"},
		"an update that was taken back": {func(t *testing.T, data string, _ wire.Code) {
			state := `{"from":"1.2","to":"1.3","sequence":3,"state":"rolled_back","watches":1,"reason":"It did not check in."}`
			if err := os.WriteFile(filepath.Join(data, "Agent", "update.json"), []byte(state), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "update", "from 1.2 to 1.3, and back: It did not check in.", "another version"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, code := enrolled(t)
			running(t, data, connected)
			c.harm(t, data, code)
			f, all := examined(t, data)
			if got := all[c.bad]; f.OK || got.OK || !strings.Contains(got.Detail, c.says) || !strings.Contains(got.Hint, c.hint) {
				t.Errorf("%s: %+v, want %q and %q", c.bad, got, c.says, c.hint)
			}
			stages(t, f, c.bad)
		})
	}
}

// stages looks that of the way's stages all are looked at up to the one that is bad, in their
// order, and none after it.
func stages(t *testing.T, f findings, bad string) {
	t.Helper()
	names := []string{"identity", "dns", "tcp", "engine", "clock", "channel", "udp", "mtu"}
	first := slices.IndexFunc(f.Checks, func(c checkup.Finding) bool { return c.Name == names[0] })
	broken := ""
	for n, name := range names {
		c := f.Checks[first+n]
		if c.Name != name {
			t.Fatalf("stage %d is %s, want %s", n, c.Name, name)
		}
		if got, want := strings.HasPrefix(c.Detail, "not looked at: "+broken+" comes first"), broken != ""; got != want {
			t.Errorf("%s: %+v, and broken is %q", name, c, broken)
		}
		if name == bad {
			broken = name
		}
	}
}

func TestDoctorBeforeEnrolment(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "none")
	f, all := examined(t, data)
	if f.OK || all["identity"].OK || !strings.Contains(all["identity"].Hint, "enrol") || all["folders"].OK || !all["disk"].OK {
		t.Errorf("found %+v", f)
	}
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it made the data root: %v", err)
	}
	out, _ := say(t, exitFailed, "doctor", "--data", data)
	if !strings.Contains(out, "BAD  identity   not enrolled with an engine\n                → enrol") {
		t.Errorf("it prints\n%s", out)
	}
}

// TestDoctorTellsOfAWrongClock, and whose it is by how much; that breaks nothing.
func TestDoctorTellsOfAWrongClock(t *testing.T) {
	t.Parallel()
	for ahead, says := range map[time.Duration]string{
		-24 * time.Hour: "ahead of the engine's", 24 * time.Hour: "behind the engine's", time.Minute: "as the engine's",
	} {
		_, code := engineAt(t, "active", ahead)
		data := t.TempDir()
		say(t, exitDone, "enrol", "--data", data, "--code", code.String())
		running(t, data, connected)
		f, all := examined(t, data)
		if c := all["clock"]; !c.OK || !strings.Contains(c.Detail, says) || (c.Hint != "") != (ahead.Abs() >= muchClock) {
			t.Errorf("%v: %+v, want %q", ahead, c, says)
		}
		stages(t, f, "")
	}
}

// TestDoctorOfADeviceThatIsNotTaken: who answers is the engine, and what it says of this device is
// another stage.
func TestDoctorOfADeviceThatIsNotTaken(t *testing.T) {
	t.Parallel()
	data, code := enrolled(t)
	id, err := keys.NewIdentity("engine")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id.TLS()}, ClientAuth: tls.RequireAnyClientCert,
		VerifyConnection: func(tls.ConnectionState) error { return errors.New("revoked") },
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).HandshakeContext(t.Context()) // That is the point.
			conn.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	code.Address, code.Pin = listener.Addr().String(), id.Pin()
	if err := keys.SaveAgent(inVPNClient(data), code.Pin, code.Address); err != nil {
		t.Fatal(err)
	}
	running(t, data, connected)
	f, all := examined(t, data)
	if c := all["channel"]; c.OK || !strings.Contains(c.Detail, "refuses this device's identity") || !strings.Contains(c.Hint, "revoked or set aside") {
		t.Errorf("channel: %+v", c)
	}
	stages(t, f, "channel")
}
