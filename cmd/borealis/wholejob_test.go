package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestWholeJob is the product in one test, without root: the demo in this process,
// an API client, real WireGuard, a real WebSocket and a real PTY, to the idle end.
func TestWholeJob(t *testing.T) {
	ctx := t.Context()
	c, _ := startDemo(t, "--idle", "2s")
	made := c.connect(ctx)
	if made.Joined || made.Token == "" || made.VirtualIP == "" {
		t.Errorf("connect answered %+v", made)
	}
	up := c.untilUp(ctx)
	if up.TunnelID != made.TunnelID || up.Operators != 1 {
		t.Errorf("up: %+v", up)
	}
	w := c.terminal(ctx, "", -1)
	w.typed(ctx, "echo $((6*7)); stty size\r")
	w.expect(ctx, "42\r\n30 100")
	before := c.status(ctx)
	w.typed(ctx, "head -c 300000 /dev/zero | tr '\\0' x; echo; echo all of it\r")
	w.expect(ctx, "x\r\nall of it")
	if after := c.status(ctx); after.Received-before.Received < 300000 {
		t.Errorf("WireGuard carried %d bytes of 300000 of output", after.Received-before.Received)
	}
	if m := w.control(ctx, "ended"); m["reason"] != "idle_timeout" {
		t.Errorf("the terminal was told %v", m)
	}
	st := c.until(ctx, "the end", func(st tunnelState) bool { return st.State == "ended" })
	if st.Reason != "idle_timeout" || st.Up {
		t.Errorf("ended: %+v", st)
	}
}

// TestConnectNeverStalls makes a hundred tunnels one after the other. A stall is one
// that waited for a WireGuard retry, which takes five seconds.
func TestConnectNeverStalls(t *testing.T) {
	ctx := t.Context()
	c, _ := startDemo(t)
	var took []time.Duration
	for range 100 {
		start := time.Now()
		c.connect(ctx)
		c.untilUp(ctx)
		took = append(took, time.Since(start))
		if code := c.do(ctx, http.MethodDelete, "/api/tunnel/disconnect?device_id="+c.device, nil, nil); code != http.StatusOK {
			t.Fatalf("disconnect: %d", code)
		}
	}
	slices.Sort(took)
	median, longest := took[50], took[99]
	t.Logf("connect to up: median %v, longest %v", median, longest)
	if longest > 2*time.Second && median < 500*time.Millisecond {
		t.Errorf("a connect stalled: %v, the median is %v", longest, median)
	}
}

// TestReloadKeepsTheShell loses the terminal's socket and comes back.
func TestReloadKeepsTheShell(t *testing.T) {
	ctx := t.Context()
	c, _ := startDemo(t)
	c.connect(ctx)
	c.untilUp(ctx)
	w := c.terminal(ctx, "", -1)
	w.typed(ctx, "X=kept; echo be\"fore\"\r")
	w.expect(ctx, "before")
	w.conn.CloseNow()
	again := c.terminal(ctx, w.id, w.offset)
	if again.id != w.id || again.offset != w.offset {
		t.Errorf("resumed terminal %s at %d, want %s at %d", again.id, again.offset, w.id, w.offset)
	}
	again.typed(ctx, "echo $X\"-all\"\r")
	again.expect(ctx, "kept-all")
}

// TestSecretsStaySecret does the whole job and then looks for every key that it
// knows in all that the engine ever sent, logged or stored.
func TestSecretsStaySecret(t *testing.T) {
	ctx := t.Context()
	data := t.TempDir()
	c, d := startDemo(t, "--data", data)
	browser := newClient(t, d.URL, "")
	browser.device = d.DeviceID
	browser.signIn(ctx, d.Operator, d.Password)
	c.connect(ctx)
	c.untilUp(ctx)
	for _, tab := range []string{"summary", "config", "powershell", "activity"} {
		if code := browser.do(ctx, http.MethodGet, "/devices/"+d.DeviceID+"/"+tab, nil, nil); code != http.StatusOK {
			t.Errorf("%s: %d", tab, code)
		}
	}
	w := browser.terminal(ctx, "", -1)
	w.typed(ctx, "echo done\"-typing\"\r")
	w.expect(ctx, "done-typing")
	c.do(ctx, http.MethodGet, "/api/activity?device_id="+d.DeviceID, nil, nil)
	c.do(ctx, http.MethodGet, "/api/tunnels", nil, nil)

	secrets := privateKeys(t, data)
	secrets["password"] = []byte(d.Password)
	secrets["api token"] = []byte(d.APIToken)
	seen := map[string][]byte{"what the API sent": c.bodies.Bytes(), "what the browser got": browser.bodies.Bytes()}
	err := filepath.WalkDir(filepath.Join(data, "Engine"), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.Contains(path, "Certificates") {
			return err
		}
		b, err := os.ReadFile(path)
		seen[path] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for where, b := range seen {
		for name, secret := range secrets {
			if bytes.Contains(b, secret) {
				t.Errorf("%s is in %s", name, where)
			}
		}
		// In quotes or before a sign, for three letters come together in a token by chance.
		for _, word := range []string{"private_key", "privatekey", "preshared", `"psk`, "psk="} {
			if !strings.HasSuffix(where, ".db") && bytes.Contains(bytes.ToLower(b), []byte(word)) {
				t.Errorf("%q is in %s", word, where)
			}
		}
	}
	if len(seen) < 4 || len(secrets) < 6 {
		t.Errorf("looked for %d secrets in %d places; something is missing", len(secrets), len(seen))
	}
}

// TestFiftyConnects asks for a tunnel from fifty places at once.
func TestFiftyConnects(t *testing.T) {
	ctx := t.Context()
	c, _ := startDemo(t)
	var (
		work  sync.WaitGroup
		mu    sync.Mutex
		ids   = make(map[string]bool)
		fresh int
	)
	for range 50 {
		work.Go(func() {
			st := c.connect(ctx)
			mu.Lock()
			defer mu.Unlock()
			ids[st.TunnelID] = true
			if !st.Joined {
				fresh++
			}
		})
	}
	work.Wait()
	if len(ids) != 1 || fresh != 1 {
		t.Errorf("%d tunnels, %d answers say they made one", len(ids), fresh)
	}
	c.untilUp(ctx)
	var all struct {
		Tunnels []tunnelState `json:"tunnels"`
	}
	if c.do(ctx, http.MethodGet, "/api/tunnels", nil, &all); len(all.Tunnels) != 1 {
		t.Errorf("tunnels: %+v", all)
	}
}

// TestSecondOperator joins, is told so, and keeps the tunnel when the first one leaves.
func TestSecondOperator(t *testing.T) {
	ctx := t.Context()
	data := t.TempDir()
	c, d := startDemo(t, "--data", data)
	second := newClient(t, d.URL, apiToken(t, data, "jon"))
	second.device = d.DeviceID
	first := c.connect(ctx)
	c.untilUp(ctx)
	joined := second.connect(ctx)
	if !joined.Joined || joined.TunnelID != first.TunnelID {
		t.Errorf("second operator: %+v", joined)
	}
	var problem tunnelState
	if code := second.do(ctx, http.MethodPost, "/api/tunnel/connect", map[string]any{"device_id": d.DeviceID, "new": true}, &problem); code != http.StatusConflict || problem.Code != "tunnel_active" {
		t.Errorf("an explicit new tunnel: %d %+v", code, problem)
	}
	c.do(ctx, http.MethodDelete, "/api/tunnel/disconnect", map[string]any{"device_id": d.DeviceID}, nil)
	if st := c.status(ctx); !st.Up || st.Operators != 1 {
		t.Errorf("after the first one left: %+v", st)
	}
	second.do(ctx, http.MethodDelete, "/api/tunnel/disconnect", map[string]any{"tunnel_id": first.TunnelID}, nil)
	if st := c.status(ctx); st.State != "ended" || st.Reason != "operator_disconnect" {
		t.Errorf("after the last one left: %+v", st)
	}
}

// apiToken adds an operator to a data root and returns a token that acts for them.
func apiToken(t *testing.T, data, name string) string {
	t.Helper()
	var out, text bytes.Buffer
	if code := run(context.Background(), []string{"operator", "add", name, "--data", data}, &out, &text); code != exitDone {
		t.Fatal(text.String())
	}
	out.Reset()
	if code := run(context.Background(), []string{"token", "new", "--operator", name, "--data", data}, &out, &text); code != exitDone {
		t.Fatal(text.String())
	}
	return strings.TrimSpace(out.String())
}
