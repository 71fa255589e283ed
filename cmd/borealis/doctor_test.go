//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"borealis/agent/checkup"
	"borealis/cmd/borealis/doctor"
	"borealis/cmd/borealis/engine"
	"borealis/store"
	"borealis/tunnel"
	"borealis/tunnel/keys"
	"borealis/tunnel/keys/seal"
	"borealis/tunnel/wg/nstest"
)

// doctored runs the doctor on a data root, and returns what it found by name.
func doctored(t *testing.T, data string, args ...string) (bool, map[string]checkup.Finding) {
	t.Helper()
	code, out, text := call(t, append([]string{"doctor", "--json", "--data", data}, args...)...)
	return findingsIn(t, out, text, code)
}

func findingsIn(t *testing.T, out, text string, code int) (bool, map[string]checkup.Finding) {
	t.Helper()
	var r doctor.Report
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatalf("%v: %q %s", err, out, text)
	}
	if r.OK != (code == exitDone) || r.OK != checkup.AllOK(r.Checks) || !r.OK && !strings.Contains(text, "to be mended") {
		t.Errorf("it exits with %d, says %s, and all is well: %v", code, text, r.OK)
	}
	all := make(map[string]checkup.Finding)
	for _, c := range r.Checks {
		if all[c.Name].Name != "" {
			t.Errorf("%s is there twice", c.Name)
		}
		if !c.OK && c.Hint == "" {
			t.Errorf("%s is to be mended and nobody says how: %s", c.Name, c.Detail)
		}
		all[c.Name] = c
	}
	return r.OK, all
}

// serveRoot runs an engine on a data root until the test ends.
func serveRoot(t *testing.T, data string) ready {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	var text bytes.Buffer
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"serve", "--json", "--data", data, "--listen", "127.0.0.1:0", "--udp-port", "0", "--link", "netstack"}, in, &text)
		in.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != exitDone {
			t.Errorf("serve ended with %d: %s", code, text.String())
		}
	})
	var r ready
	if err := json.NewDecoder(out).Decode(&r); err != nil {
		t.Fatalf("serve: %v %s", err, text.String())
	}
	return r
}

// TestDoctorOfAHealthyEngine: everything that does not depend on the host is well.
func TestDoctorOfAHealthyEngine(t *testing.T) {
	t.Parallel()
	data := newRoot(t)
	r := serveRoot(t, data)
	_, all := doctored(t, data, "--udp-port", strconv.Itoa(r.UDPPort))
	pin, err := engine.Root(data).Pin()
	if err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{
		"data root": "for nobody else", "engine": "process " + strconv.Itoa(os.Getpid()), "database": "sound, schema version", "disk": "MiB left",
		"seal key": "opens the engine's keys", "identity": pin.Words(), "audit trail": "as it was written", "clock": "no record is of later",
		"name": "127.0.0.1", "TCP": r.Listen + " answers", "web certificate": "signed itself", "TLS for agents": "the identity that agents pin",
		"UDP port": strconv.Itoa(r.UDPPort) + " is in use", "agents": "0 active", "public address": "", "link": "", "MTU": "", "forwarding": "", "open files": "agents",
	} {
		c, there := all[name]
		if !there || !strings.Contains(c.Detail, says) || !c.OK && name != "open files" && name != "link" {
			t.Errorf("%s: %+v, want %q", name, c, says)
		}
	}
	if _, there := all["firewall"]; !there {
		t.Error("the firewall was not looked at")
	}
	if _, out, _ := call(t, "doctor", "--data", data); !strings.Contains(out, "\nok   engine") {
		t.Errorf("it prints\n%s", out)
	}
}

// TestDoctorFindsWhatIsBroken, one thing after the other.
func TestDoctorFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	for name, c := range map[string]struct {
		harm       func(t *testing.T, data string) (args []string)
		bad        string // the check that finds it
		says, hint string
	}{
		"no engine runs": {func(*testing.T, string) []string { return nil }, "engine", "no engine runs", "systemctl start"},
		"open to others": {func(t *testing.T, data string) []string {
			return harmed(t, os.Chmod(filepath.Join(engine.Root(data).Certificates(), "token.key"), 0o644))
		}, "data root", "can be read by others", "chmod"},
		"lost seal key": {func(t *testing.T, data string) []string {
			return harmed(t, os.Remove(data+".key"))
		}, "seal key", "is missing", "restore it"},
		"wrong seal key": {func(t *testing.T, data string) []string {
			other := filepath.Join(t.TempDir(), "other.key")
			_, err := seal.Create(other)
			return append(harmed(t, err), "--seal-key", other)
		}, "seal key", "open the engine's identity", "--seal-key"},
		"lost identity": {func(t *testing.T, data string) []string {
			return harmed(t, os.Remove(filepath.Join(engine.Root(data).Certificates(), "identity.crt")))
		}, "identity", "no such file", "backup"},
		"damaged database": {func(t *testing.T, data string) []string {
			return harmed(t, os.Truncate(engine.Root(data).Database(), 8192))
		}, "database", "", "restore"},
		"not a database": {func(t *testing.T, data string) []string {
			return harmed(t, os.WriteFile(engine.Root(data).Database(), []byte("hello"), 0o600))
		}, "database", "not a database", "restore"},
		"records of the future": {func(t *testing.T, data string) []string {
			return harmed(t, engine.Root(data).With(t.Context(), func(s *store.Store) error {
				return s.AddRecord(t.Context(), store.Record{Kind: "test", At: time.Now().Add(time.Hour)})
			}))
		}, "clock", "newest record", "clock"},
		"a name that leads nowhere": {func(t *testing.T, data string) []string {
			return harmed(t, engine.Root(data).With(t.Context(), func(s *store.Store) error {
				return s.SetSetting(t.Context(), engine.AddressSetting, "engine.invalid:8443")
			}))
		}, "name", "engine.invalid", "DNS"},
		"nobody listens": {func(t *testing.T, data string) []string {
			return []string{"--listen", unusedAddress(t)}
		}, "TCP", "nobody answers", "--listen"},
		"another engine answers": {func(t *testing.T, data string) []string {
			return []string{"--listen", serveRoot(t, newRoot(t)).Listen}
		}, "TLS for agents", "the pin is", "another engine"},
		"a taken UDP port": {func(t *testing.T, data string) []string {
			taken, err := net.ListenPacket("udp", ":0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { taken.Close() })
			return []string{"--udp-port", strconv.Itoa(taken.LocalAddr().(*net.UDPAddr).Port)}
		}, "UDP port", "is used by", "--udp-port"},
		"no data root": {func(t *testing.T, data string) []string {
			return []string{"--data", filepath.Join(t.TempDir(), "none")}
		}, "data root", "there is no", "init"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := copied(t, root)
			ok, all := doctored(t, data, c.harm(t, data)...)
			f := all[c.bad]
			if ok || f.OK || !strings.Contains(f.Detail, c.says) || !strings.Contains(f.Hint, c.hint) {
				t.Errorf("%+v, want %q and %q", f, c.says, c.hint)
			}
		})
	}
}

// copied is a data root like another one, which does not run.
func copied(t *testing.T, root string) string {
	t.Helper()
	data := filepath.Join(t.TempDir(), "root")
	for _, suffix := range []string{"", ".key"} {
		if out, err := exec.Command("cp", "-a", root+suffix, data+suffix).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return data
}

func harmed(t *testing.T, err error) []string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return nil
}

// unusedAddress is where nobody listens.
func unusedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestDoctorChangesNothing: a database that an older Borealis made stays as it is.
func TestDoctorChangesNothing(t *testing.T) {
	t.Parallel()
	data := newRoot(t)
	path := engine.Root(data).Database()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[63]-- // of the schema version
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, all := doctored(t, data)
	if f := all["database"]; !f.OK || !strings.Contains(f.Detail, "not looked at") {
		t.Errorf("%+v", f)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(after, b) {
		t.Errorf("the database was changed: %v", err)
	}
}

// TestDoctorOfADevice says why a device cannot be reached, by its name and by its id.
func TestDoctorOfADevice(t *testing.T) {
	t.Parallel()
	data, ctx := newRoot(t), t.Context()
	var d store.Device
	err := engine.Root(data).With(ctx, func(s *store.Store) error {
		hash := [32]byte{1}
		code := store.Code{Uses: 1, AutoApprove: true, CreatedBy: "test", ExpiresAt: time.Now().Add(time.Hour)}
		if _, err := s.AddCode(ctx, hash, code, store.Record{}); err != nil {
			return err
		}
		id, err := keys.NewIdentity("PC-7")
		if err != nil {
			return err
		}
		d, err = s.RedeemCode(ctx, hash, store.Device{Hostname: "PC-7", OS: "windows", Pin: id.Pin().String()}, time.Now(), store.Record{})
		if err != nil {
			return err
		}
		row := store.Tunnel{ID: "tunnel-1", DeviceID: d.ID, TokenID: "token-1", State: string(tunnel.Requested), Operator: "ann"}
		if err := s.AddTunnel(ctx, row, time.Now(), store.Record{}); err != nil {
			return err
		}
		_, err = s.EndTunnel(ctx, row.ID, string(tunnel.HandshakeTimeout), time.Now(), 0, 0, nil, store.Record{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, named := range []string{"pc-7", d.ID} {
		_, all := doctored(t, data, "--device", named)
		if f := all["last tunnel"]; f.OK || !strings.Contains(f.Detail, "handshake_timeout") || !strings.Contains(f.Hint, "UDP") {
			t.Errorf("%s: %+v", named, f)
		}
		if f := all["ports"]; !f.OK || !strings.Contains(f.Detail, "3389/tcp") {
			t.Errorf("%s: %+v", named, f)
		}
		if f := all["device"]; !f.OK || !strings.Contains(f.Detail, "active") {
			t.Errorf("%s: %+v", named, f)
		}
	}
	must(t, "device", "lock", d.ID, "--reason", "stolen", "--data", data)
	if _, all := doctored(t, data, "--device", d.ID); all["device lock"].OK || !strings.Contains(all["device lock"].Detail, "stolen") {
		t.Errorf("locked: %+v", all["device lock"])
	}
	must(t, "device", "quarantine", d.ID, "--data", data)
	if _, all := doctored(t, data, "--device", d.ID); all["device"].OK || !strings.Contains(all["device"].Hint, "device approve "+d.ID) {
		t.Errorf("quarantined: %+v", all["device"])
	}
	must(t, "device", "revoke", d.ID, "--data", data)
	if _, all := doctored(t, data, "--device", d.ID); all["device"].OK || !strings.Contains(all["device"].Hint, "enrol") {
		t.Errorf("revoked: %+v", all["device"])
	}
	if _, all := doctored(t, data, "--device", "nobody"); all["device"].OK || !strings.Contains(all["device"].Hint, "device list") {
		t.Errorf("unknown: %+v", all["device"])
	}
}

// TestDoctorWithoutRights is somebody else's user: what they may not see is not a fault.
func TestDoctorWithoutRights(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		nstest.Skip(t, "only root can be somebody else")
	}
	data := newRoot(t)
	for dir := filepath.Dir(data); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := asNobody(t, "doctor", "--json", "--data", data)
	var text bytes.Buffer
	cmd.Stderr = &text
	out, err := cmd.Output()
	code := exitDone
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	}
	_, all := findingsIn(t, string(out), text.String(), code)
	for _, name := range []string{"data root", "engine", "database", "seal key", "identity"} {
		if f := all[name]; !f.OK || !strings.Contains(f.Detail, "without more rights") {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestDoctorOfFewFiles runs it where few files may be open.
func TestDoctorOfFewFiles(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `ulimit -n 4096 && exec "$0" doctor --json --data "$1"`, self, newRoot(t))
	cmd.Env = append(os.Environ(), doomedAs+"=engine")
	out, _ := cmd.Output() // no engine runs, so it fails anyhow
	var r doctor.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Checks {
		if f.Name == "open files" && (f.OK || !strings.Contains(f.Detail, "1792 agents") || !strings.Contains(f.Hint, "LimitNOFILE=65536")) {
			t.Errorf("%+v", f)
		}
	}
}
