//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// killer stands before iptables-nft-restore and kills the engine at its n-th run, before
// or after the change.
const killer = `#!/bin/sh
n=$(($(cat "$KILL_COUNT") + 1))
echo $n >"$KILL_COUNT"
[ $n = "$KILL_AT" ] && [ "$KILL_WHEN" = before ] && kill -9 $PPID
/usr/sbin/iptables-nft-restore "$@"
status=$?
[ $n = "$KILL_AT" ] && kill -9 $PPID
exit $status
`

// killedAtAnyChange kills the engine before and after each change that it makes to the
// rules while a tunnel comes up, its ports change, and it goes. The next engine has no
// tunnel, and its rules are those of no tunnel.
func (f *fleet) killedAtAnyChange(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "iptables-nft-restore"), []byte(killer), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr/sbin/iptables-nft", filepath.Join(bin, "iptables-nft")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr/sbin/iptables-nft-save", filepath.Join(bin, "iptables-nft-save")); err != nil {
		t.Fatal(err)
	}
	f.stopEngine(t)
	for _, m := range f.agents {
		m.stop()
	}
	for at, last := 1, false; !last; at++ {
		for _, when := range []string{"before", "after"} {
			last = f.doomedJob(t, bin, at, when)
			f.startEngine()
			saved := f.here("iptables-save")
			if strings.Contains(saved, "BRL-A-") || strings.Contains(saved, "BRL-D-") || !strings.Contains(saved, "-A OUTPUT -o borealis0 -j BRL-OUT") {
				t.Errorf("killed %s change %d; the next engine has\n%s", when, at, saved)
			}
			if peers := f.here("wg", "show", "borealis0", "peers"); peers != "" {
				t.Errorf("killed %s change %d; the next engine has the peers %s", when, at, peers)
			}
			f.stopEngine(t)
			if left := rules(f.here("iptables-save")); strings.Contains(left, "BRL-") {
				t.Errorf("killed %s change %d; after the next engine's end there is\n%s", when, at, left)
			}
		}
		if last {
			t.Logf("killed before and after each of %d changes", at-1)
		} else if at > 20 {
			t.Fatal("the engine does not stop changing rules")
		}
	}
	f.startEngine()
	for _, m := range f.agents {
		f.startAgent(m)
	}
}

// stop kills the agent.
func (m *machine) stop() {
	_ = m.process.Signal(syscall.SIGKILL) // it may be dead
	<-m.process.Done()
}

// doomedJob starts an engine that is killed at a change of the rules, and has it do the
// job. It reports whether the job was done before.
func (f *fleet) doomedJob(t *testing.T, bin string, at int, when string) (done bool) {
	count := filepath.Join(bin, "count")
	if err := os.WriteFile(count, []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(filepath.Join(f.bin, "borealis"), "serve", "--data", f.data, "--listen", ":8443", "--link", "tun")
	c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "KILL_COUNT="+count, "KILL_AT="+strconv.Itoa(at), "KILL_WHEN="+when)
	f.engine = f.host.Start(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer cancel()
		<-f.engine.Done()
	}()
	if !f.insist(ctx, http.MethodGet, "/healthz", "") {
		return false
	}
	a := f.agents[0] // a new one finds the engine at once
	a.process = a.host.Start(t, exec.Command(filepath.Join(f.bin, "borealis-agent"), "run", "--data", a.data, "--shell", "/bin/sh"))
	defer a.stop()
	for _, step := range []struct {
		method, path, body string
	}{
		{http.MethodPost, "/api/tunnel/connect", fmt.Sprintf(`{"device_id":%q}`, a.device)},
		{http.MethodPost, "/api/devices/" + a.device + "/ports/check", ""}, // succeeds when the tunnel is up
		{http.MethodPut, "/api/devices/" + a.device + "/ports", `{"services":{"rdp":{"allowed":true}},"custom":[]}`},
		{http.MethodPut, "/api/devices/" + a.device + "/ports", `{"services":{"rdp":{"allowed":false}},"custom":[]}`},
		{http.MethodDelete, "/api/tunnel/disconnect?device_id=" + a.device, ""},
	} {
		if !f.insist(ctx, step.method, step.path, step.body) {
			return false
		}
	}
	f.stopEngine(t)
	return true
}

// insist repeats a request until it succeeds, and reports false when the engine died.
func (f *fleet) insist(ctx context.Context, method, path, body string) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if f.client.succeeds(ctx, method, path, body) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// succeeds makes a request of an engine that may die any time. A change of ports is for
// the revision that is there.
func (c *client) succeeds(ctx context.Context, method, path, body string) bool {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if method == http.MethodPut {
		get, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, http.NoBody)
		if err != nil {
			return false
		}
		get.Header.Set("Authorization", "Bearer "+c.token)
		answer, err := c.http.Do(get)
		if err != nil {
			return false
		}
		answer.Body.Close()
		req.Header.Set("If-Match", answer.Header.Get("ETag"))
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// stopEngine ends the engine in an orderly way, or finds it dead.
func (f *fleet) stopEngine(t *testing.T) {
	t.Helper()
	_ = f.engine.Signal(syscall.SIGTERM) // it may be dead
	<-f.engine.Done()
}

// agentsOnline waits for the agents, which after a few short connections wait up to half a minute before the next one.
func (f *fleet) agentsOnline(t *testing.T) {
	t.Helper()
	for _, m := range f.agents {
		f.eventuallyIn(longer, "the agents", func() bool { return f.online(m) })
	}
}
