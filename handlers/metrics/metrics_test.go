package metrics

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"borealis/store"
	"borealis/tunnel"
	"borealis/tunnel/keys"
	"borealis/tunnel/keys/seal"
	"borealis/tunnel/wg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// withEngine returns metrics of a real manager on a real store.
func withEngine(t testing.TB) (*Metrics, *store.Store) {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(t.Context(), dir+"/borealis.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	k, err := keys.OpenEngine(dir+"/Certificates", []string{"localhost"}, seal.New([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	m := New(Config{Version: "test"})
	manager, err := tunnel.Open(t.Context(), tunnel.Config{
		Store: db, Keys: k, Link: wg.Config{Mode: wg.Netstack, Name: "borealis0"}, PublicEndpoint: "127.0.0.1", Observe: m.Observer(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(manager.Close)
	m.Attach(Sources{Manager: manager, Store: db, Front: func() Front { return Front{AgentsRefused: 3, Requests: map[string]int64{"agent": 2}} }})
	return m, db
}

// scrape asks as Prometheus does.
func (m *Metrics) scrape(t testing.TB) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d, %v: %s", w.Code, err, body)
	}
	return string(body)
}

// has looks for lines of a scrape.
func has(t *testing.T, scrape string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+scrape, "\n"+line+"\n") {
			name, _, _ := strings.Cut(line, " ")
			at := strings.Index(scrape, "\n"+name)
			t.Errorf("no line %q, but %q", line, scrape[max(at, 0):min(len(scrape), max(at, 0)+120)])
		}
	}
}

// TestObserver: what happens is counted, and what has not happened yet is zero.
func TestObserver(t *testing.T) {
	t.Parallel()
	m, _ := withEngine(t)
	o := m.Observer()
	has(t, m.scrape(t), `borealis_tunnel_ends_total{reason="handshake_timeout"} 0`, `borealis_repairs_total{what="peer"} 0`, "borealis_terminal_echo_seconds_count 0")
	o.Step(tunnel.Offered, 3*time.Millisecond)
	o.Step(tunnel.Up, 40*time.Second)
	o.Step(tunnel.Closing, time.Hour)
	o.Ended(tunnel.IdleTimeout, 20*time.Minute)
	o.Repaired("firewall")
	o.Echo(30 * time.Millisecond)
	text := m.scrape(t)
	has(
		t, text,
		`borealis_tunnel_step_seconds_bucket{step="offered",le="0.0025"} 0`,
		`borealis_tunnel_step_seconds_bucket{step="offered",le="0.005"} 1`,
		`borealis_tunnel_step_seconds_bucket{step="up",le="30"} 0`,
		`borealis_tunnel_step_seconds_count{step="up"} 1`,
		`borealis_tunnel_ends_total{reason="idle_timeout"} 1`,
		`borealis_tunnel_lifetime_seconds_sum 1200`,
		`borealis_repairs_total{what="firewall"} 1`,
		`borealis_terminal_echo_seconds_bucket{le="0.05"} 1`,
		`borealis_terminal_echo_seconds_bucket{le="0.025"} 0`,
	)
	if strings.Contains(text, `step="closing"`) {
		t.Error("the life of a tunnel is taken for a step")
	}
	for _, r := range tunnel.Reasons() {
		if !strings.Contains(text, `reason="`+string(r)+`"`) {
			t.Errorf("there is no figure for %s", r)
		}
	}
}

// TestScrape shows what is there, and says when the database does not answer.
func TestScrape(t *testing.T) {
	t.Parallel()
	m, db := withEngine(t)
	text := m.scrape(t)
	has(
		t, text, "borealis_link_up 1", "borealis_firewall_healthy 1", "borealis_database_up 1", `borealis_devices{state="pending"} 0`,
		`borealis_tunnels{state="up"} 0`, "borealis_agents_refused_total 3", `borealis_http_requests_total{side="agent"} 2`, "borealis_handshake_age_seconds 0",
	)
	for _, missing := range []string{"backup_age", "syslog_behind"} {
		if strings.Contains(text, "\nborealis_"+missing) {
			t.Errorf("%s is there, though there is none", missing)
		}
	}
	if err := db.AddRecord(t.Context(), store.Record{Kind: "backup_made", At: time.Now().Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if text := m.scrape(t); !strings.Contains(text, "\nborealis_backup_age_seconds 36") {
		t.Error("the age of a backup is not that of its record")
	}
	db.Close()
	text = m.scrape(t)
	has(t, text, "borealis_database_up 0", "borealis_link_up 1")
	if strings.Contains(text, "\nborealis_devices") || strings.Contains(text, "\nborealis_audit_records") {
		t.Error("figures of a database that does not answer")
	}
}

// BenchmarkScrape is one scrape of an engine with a thousand devices, without tunnels: see
// BenchmarkStats in package tunnel for what these add.
func BenchmarkScrape(b *testing.B) {
	m, db := withEngine(b)
	for i := range 1000 {
		now := time.Now()
		hash := [32]byte{byte(i), byte(i >> 8), 1}
		if _, err := db.AddCode(b.Context(), hash, store.Code{Uses: 1, AutoApprove: true, CreatedBy: "test", CreatedAt: now, ExpiresAt: now.Add(time.Hour)}, store.Record{}); err != nil {
			b.Fatal(err)
		}
		pin := keys.Pin{byte(i), byte(i >> 8), 1}
		if _, err := db.RedeemCode(b.Context(), hash, store.Device{Hostname: "pc", OS: "windows", Pin: pin.String()}, now, store.Record{}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		m.scrape(b)
	}
}
