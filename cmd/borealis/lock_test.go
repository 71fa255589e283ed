package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"borealis/cmd/borealis/engine"
	"borealis/tunnel/keys"
)

// TestLockEndsWhatIsOpen locks an operator with a command beside the running engine: the
// shell of that operator ends and nothing more is possible, and the other operator of
// the same tunnel goes on typing. A lock on the device then ends the tunnel.
func TestLockEndsWhatIsOpen(t *testing.T) {
	ctx := t.Context()
	data := filepath.Join(t.TempDir(), "root")
	admin, d := startDemo(t, "--data", data)
	jon := newClient(t, d.URL, apiToken(t, data, "jon"))
	jon.device = d.DeviceID
	admin.connect(ctx)
	admin.untilUp(ctx)
	jon.connect(ctx)
	stays, goes := admin.terminal(ctx, "", -1), jon.terminal(ctx, "", -1)
	stays.typed(ctx, "X=kept\r")
	goes.typed(ctx, "echo be\"fore\"\r")
	goes.expect(ctx, "before")

	must(t, "operator", "lock", "jon", "--reason", "left the company", "--data", data)
	goes.untilCut(ctx)
	if code := jon.do(ctx, http.MethodGet, "/api/devices", nil, nil); code != http.StatusForbidden && code != http.StatusUnauthorized {
		t.Errorf("a locked operator's request: %d", code)
	}
	stays.typed(ctx, "echo $X\"-all\"\r")
	stays.expect(ctx, "kept-all")
	if st := admin.status(ctx); !st.Up || st.Operators != 1 {
		t.Errorf("after the lock: %+v", st)
	}

	must(t, "device", "lock", d.DeviceID, "--reason", "stolen", "--data", data)
	if st := admin.until(ctx, "the end", func(st tunnelState) bool { return st.State == "ended" }); st.Reason != "device_locked" {
		t.Errorf("the locked device's tunnel: %+v", st)
	}
	var refused tunnelState
	if code := admin.do(ctx, http.MethodPost, "/api/tunnel/connect", map[string]any{"device_id": d.DeviceID}, &refused); code != http.StatusConflict || refused.Code != "device_locked" {
		t.Errorf("connect to a locked device: %d %+v", code, refused)
	}
	must(t, "device", "unlock", d.DeviceID, "--data", data)
	admin.connect(ctx)
	admin.untilUp(ctx)

	must(t, "device", "revoke", d.DeviceID, "--data", data)
	if st := admin.until(ctx, "the end", func(st tunnelState) bool { return st.State == "ended" }); st.Reason != "device_revoked" {
		t.Errorf("the revoked device's tunnel: %+v", st)
	}
}

// untilCut reads until the socket ends.
func (w *term) untilCut(ctx context.Context) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		if _, _, err := w.conn.Read(ctx); err != nil {
			if ctx.Err() != nil {
				w.t.Fatal("the terminal was not cut")
			}
			return
		}
	}
}

// verified is what "audit verify" says, as far as these tests look at it.
type verified struct {
	Records, Covered, Uncovered int64
	Checkpoints                 int
	Vouched                     bool
	Fault                       *struct{ What string }
}

// TestAuditTrail does the main job and verifies the trail as an auditor would: in place,
// from an export, and after somebody tampered with a copy.
func TestAuditTrail(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	data := filepath.Join(dir, "root")
	t.Run("work", func(t *testing.T) {
		c, _ := startDemo(t, "--data", data)
		c.connect(ctx)
		c.untilUp(ctx)
		w := c.terminal(ctx, "", -1)
		w.typed(ctx, "echo do\"ne\"\r")
		w.expect(ctx, "done")
		c.do(ctx, http.MethodDelete, "/api/tunnel/disconnect?device_id="+c.device, nil, nil)
	})
	verify := func(args ...string) (code int, report verified) {
		code, out, text := call(t, append([]string{"audit", "verify", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &report); err != nil {
			t.Fatalf("verify %q: %v %q %q", args, err, out, text)
		}
		return code, report
	}
	code, report := verify("--data", data)
	if code != exitDone || report.Fault != nil || report.Records < 5 || report.Checkpoints == 0 || report.Uncovered != 0 || !report.Vouched {
		t.Errorf("in place: %d %+v", code, report)
	}
	export := filepath.Join(dir, "trail.jsonl")
	must(t, "audit", "export", "--data", data, "--out", export)
	identity := filepath.Join(engine.Root(data).Certificates(), "identity.crt")
	offline := []string{"--file", export, "--checkpoints", engine.Root(data).Checkpoints(), "--identity", identity}
	if code, report := verify(offline...); code != exitDone || report.Fault != nil || report.Checkpoints == 0 {
		t.Errorf("offline: %d %+v", code, report)
	}
	b, err := os.ReadFile(export)
	if err != nil {
		t.Fatal(err)
	}
	write(t, export, []byte(strings.Replace(string(b), "tunnel_up", "tunnel_ok", 1)), 0o600)
	if code, report := verify(offline...); code != exitFailed || report.Fault == nil || report.Fault.What != "changed" {
		t.Errorf("a changed export: %d %+v", code, report)
	}
	id, err := keys.NewIdentity("another engine")
	if err != nil {
		t.Fatal(err)
	}
	write(t, export, b, 0o600)
	other := filepath.Join(dir, "other.crt")
	write(t, other, certificate(id), 0o600)
	if code, report := verify("--file", export, "--checkpoints", engine.Root(data).Checkpoints(), "--identity", other); code != exitFailed || report.Fault == nil {
		t.Errorf("as another engine's: %d %+v", code, report)
	}
}

// certificate is an identity's certificate as a file holds it.
func certificate(id *keys.Identity) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.TLS().Certificate[0]})
}
