package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"borealis/cmd/borealis/engine"
	"borealis/store"
)

// A watched is an engine with an admin listener, as "borealis serve" runs it.
type watched struct {
	t    *testing.T
	http *http.Client
	base string // of the admin listener
	ready
}

// serveWatched runs an engine until the test ends. Its admin listener is a socket.
func serveWatched(t *testing.T, data string, args ...string) *watched {
	t.Helper()
	path := filepath.Join(t.TempDir(), "metrics")
	w := &watched{t: t, base: "http://engine", http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}}
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	done := make(chan int, 1)
	all := append([]string{"serve", "--json", "--data", data, "--listen", "127.0.0.1:0", "--udp-port", "0", "--link", "netstack", "--metrics", "unix:" + path}, args...)
	go func() {
		done <- run(ctx, all, in, io.Discard)
		in.Close()
	}()
	t.Cleanup(func() {
		w.http.CloseIdleConnections()
		cancel()
		if code := <-done; code != exitDone {
			t.Errorf("serve ended with %d", code)
		}
	})
	if err := json.NewDecoder(out).Decode(&w.ready); err != nil {
		t.Fatal(err)
	}
	return w
}

// get asks the admin listener.
func (w *watched) get(method, path string) (status int, body string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.base+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := w.http.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return a.StatusCode, string(b)
}

// scrape reads the metrics until they have a name.
func (w *watched) scrape(until string) string {
	w.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); ; {
		status, body := w.get(http.MethodGet, "/metrics")
		if status != http.StatusOK {
			w.t.Fatalf("metrics: %d %s", status, body)
		}
		if strings.Contains(body, "\n"+until) {
			return body
		}
		select {
		case <-tick.C:
		case <-late:
			w.t.Fatalf("there is no %s in\n%s", until, body)
		}
	}
}

// everyMetric is a scrape of an engine that has all there can be.
func everyMetric(t *testing.T) string {
	t.Helper()
	data := newRoot(t)
	db, err := engine.Root(data).OpenStore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = db.AddRecord(t.Context(), store.Record{Kind: "backup_made"})
	db.Close()
	if err != nil {
		t.Fatal(err)
	}
	return serveWatched(t, data, "--syslog", "127.0.0.1:1").scrape("borealis_audit_checkpoint_age_seconds ")
}

// names are the metrics of a scrape, without what histograms put behind their name.
func names(scrape string) map[string]bool {
	all := make(map[string]bool)
	for line := range strings.Lines(scrape) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(strings.TrimSpace(name), " ")
			all[name] = true
			if kind == "histogram" {
				all[name+"_bucket"], all[name+"_sum"], all[name+"_count"] = true, true, true
			}
		}
	}
	return all
}

var metricName = regexp.MustCompile(`\b(?:borealis|process|go)_[a-z0-9_]+\b`)

// TestMetricsNames: what the alerts and the dashboard ask for is what an engine shows, and each of
// the engine's own figures is on the dashboard or in an alert. Their labels are few.
func TestMetricsNames(t *testing.T) {
	scrape := everyMetric(t)
	shown := names(scrape)
	asked := make(map[string]bool)
	for _, path := range []string{"prometheus/borealis.rules.yml", "prometheus/borealis.rules.test.yml", "grafana/borealis.json"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "etc", path))
		if err != nil {
			t.Fatal(err)
		}
		found := metricName.FindAllString(string(text), -1)
		if len(found) < 10 {
			t.Errorf("%s asks for %d metrics", path, len(found))
		}
		for _, name := range found {
			asked[name] = true
			if !shown[name] {
				t.Errorf("%s asks for %s, which no engine shows", path, name)
			}
		}
	}
	for name := range shown {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if strings.HasPrefix(name, "borealis_") && !asked[name] && !asked[base] && !asked[base+"_bucket"] {
			t.Errorf("%s is on no dashboard and in no alert", name)
		}
	}
	series := 0
	for line := range strings.Lines(scrape) {
		if strings.HasPrefix(line, "borealis_") {
			series++
		}
	}
	if series > 300 {
		t.Errorf("an engine without a device has %d series", series)
	}
}

// TestMetricsPassPromtool asks Prometheus itself what is wrong with the names, the types and the help.
func TestMetricsPassPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed: Debian has it in its package prometheus")
	}
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(everyMetric(t))
	if out, err := check.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "" {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// TestMetricsCount: an engine shows every figure from its start on, and a sign-in that failed is in them.
func TestMetricsCount(t *testing.T) {
	data := newRoot(t)
	w := serveWatched(t, data)
	before := figuresOf(t, w.scrape("borealis_tunnels"))
	code := newClient(t, w.URL, "")
	resp, err := code.http.PostForm(w.URL+"/login", map[string][]string{"name": {"admin"}, "password": {"wrong"}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	after := figuresOf(t, w.scrape("borealis_tunnels"))
	for name, want := range map[string]string{
		"borealis_sign_in_failures_total":                 "1",
		"borealis_link_up":                                "1",
		"borealis_firewall_healthy":                       "1",
		"borealis_database_up":                            "1",
		"borealis_audit_writable":                         "1",
		`borealis_tunnels{state="up"}`:                    "0",
		`borealis_tunnel_ends_total{reason="agent_lost"}`: "0",
		`borealis_repairs_total{what="firewall"}`:         "0",
		`borealis_devices{state="active"}`:                "0",
	} {
		if after[name] != want {
			t.Errorf("%s is %q, want %s", name, after[name], want)
		}
	}
	if before[`borealis_http_requests_total{side="operator"}`] == after[`borealis_http_requests_total{side="operator"}`] {
		t.Error("a request is not counted")
	}
	if !slices.Equal(slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after))) {
		t.Error("figures come and go")
	}
}

// figuresOf are the engine's own figures of a scrape, by name and labels.
func figuresOf(t *testing.T, scrape string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for lines := bufio.NewScanner(strings.NewReader(scrape)); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && strings.HasPrefix(name, "borealis_") && !strings.HasPrefix(name, "borealis_build_info") &&
			!strings.HasPrefix(name, "borealis_audit_checkpoint_age") {
			all[name] = value
		}
	}
	return all
}

// TestAdminListener: it answers three questions and nothing else, and to GET and HEAD only.
func TestAdminListener(t *testing.T) {
	w := serveWatched(t, newRoot(t))
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/metrics", http.StatusOK},
		{http.MethodHead, "/metrics", http.StatusOK},
		{http.MethodGet, "/healthz", http.StatusOK},
		{http.MethodHead, "/readyz", http.StatusOK},
		{http.MethodPost, "/metrics", http.StatusMethodNotAllowed},
		{http.MethodPut, "/readyz", http.StatusMethodNotAllowed},
		{http.MethodGet, "/", http.StatusNotFound},
		{http.MethodGet, "/login", http.StatusNotFound},
		{http.MethodGet, "/api/devices", http.StatusNotFound},
		{http.MethodGet, "/debug/pprof/", http.StatusNotFound},
	} {
		if status, body := w.get(c.method, c.path); status != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, status, body, c.status)
		}
	}
	_, body := w.get(http.MethodGet, "/readyz")
	var answer struct {
		Ready bool
		Parts []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, p := range answer.Parts {
		parts = append(parts, p.Name)
	}
	slices.Sort(parts)
	if got := strings.Join(parts, " "); got != "audit database engine firewall link listener manager" || !answer.Ready {
		t.Errorf("ready says %s", body)
	}
}

// TestReadyWithoutPort: with WireGuard's port taken, the admin listener says why tunnels cannot be
// made, and the figures say that.
func TestReadyWithoutPort(t *testing.T) {
	taken, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.LocalAddr().String())
	w := serveWatched(t, newRoot(t), "--udp-port", port)
	status, body := w.get(http.MethodGet, "/readyz")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "UDP port "+port) {
		t.Errorf("ready: %d %s", status, body)
	}
	if status, _ := w.get(http.MethodGet, "/healthz"); status != http.StatusOK {
		t.Errorf("health: %d, though a restart would change nothing", status)
	}
	if f := figuresOf(t, w.scrape("borealis_link_up")); f["borealis_link_up"] != "0" {
		t.Errorf("the link is %s", f["borealis_link_up"])
	}
}
