package metrics

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"borealis/store"
	"borealis/tunnel"
)

const (
	readTimeout = 2 * time.Second // for the database, at a scrape
	// staleHandshake is when WireGuard gives up a session: both ends would have shaken hands
	// again before, if they could.
	staleHandshake = 180 * time.Second
)

// Sources are what is asked at each scrape. Manager and Store are required.
type Sources struct {
	Manager *tunnel.Manager
	Store   *store.Store
	// Front tells of what stands between the engine and its clients. Nil leaves its figures out.
	Front func() Front
	// Sent is the number of the last record that the log server has. Nil: there is no log server.
	Sent func() (seq int64, err error)
}

// Front are the figures of the HTTPS side of an engine. The counts began when it was started.
type Front struct {
	Connections        int64 // that are open
	ConnectionsRefused int64 // because there were too many
	AgentsRefused      int64 // because few file descriptors were left
	SignInFailures     int64
	Requests           map[string]int64 // by side: operator, agent, enrol
	Faults             int64            // requests that failed because of the engine
}

// Attach adds what is there at a scrape. It is called once.
func (m *Metrics) Attach(from Sources) { m.registry.MustRegister(&scrape{Sources: from, log: m.log}) }

// The states of tunnels and devices that are shown, also when nothing is in them.
var (
	tunnelStates = []tunnel.State{tunnel.Requested, tunnel.Offered, tunnel.Ready, tunnel.Peered, tunnel.Up, tunnel.Closing}
	deviceStates = []string{store.Pending, store.Active, store.Quarantined, store.Revoked}
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("borealis_"+name, help, labels, nil)
}

var (
	tunnels    = describe("tunnels", "Tunnels that have not ended, by how far they are.", "state")
	oldest     = describe("handshake_age_seconds", "Age of the oldest last handshake of a tunnel that is up; 0 when none is.")
	stale      = describe("tunnels_handshake_stale", "Tunnels that are up without a handshake for 180 seconds.")
	received   = describe("wireguard_received_bytes_total", "Bytes received in tunnels, those that have ended too.")
	sent       = describe("wireguard_sent_bytes_total", "Bytes sent in tunnels, those that have ended too.")
	terminals  = describe("terminals", "Terminals that are open.")
	attached   = describe("operators_attached", "Attachments of operators to tunnels.")
	agents     = describe("agents_connected", "Agents that are connected.")
	linkUp     = describe("link_up", "1 when tunnels can be made.")
	firewall   = describe("firewall_healthy", "1 when the host's firewall is as it should be, or the mode has none.")
	unwritten  = describe("audit_unwritten", "Records that wait for the audit trail to be writable.")
	writable   = describe("audit_writable", "0 when the last attempt to write to the audit trail did not work.")
	databaseUp = describe("database_up", "1 when the database answered this scrape.")
	devices    = describe("devices", "Devices, by state.", "state")
	records    = describe("audit_records_total", "Records in the audit trail.")
	unsigned   = describe("audit_unsigned_records", "Records that no checkpoint covers yet.")
	checkpoint = describe("audit_checkpoint_age_seconds", "Age of the last checkpoint of the audit trail; missing before the first.")
	backup     = describe("backup_age_seconds", "Age of the last backup on record; missing before the first.")
	behind     = describe("syslog_behind_records", "Records that the log server is not known to have; missing without one.")

	connections = describe("connections_open", "TCP connections of browsers and agents.")
	crowded     = describe("connections_refused_total", "Connections refused because too many had proven nothing.")
	turnedAway  = describe("agents_refused_total", "Connections of agents refused because few file descriptors were left.")
	signIns     = describe("sign_in_failures_total", "Sign-ins that failed.")
	requests    = describe("http_requests_total", "Requests, by whose they are.", "side")
	faults      = describe("http_faults_total", "Requests that failed because of the engine.")
)

// everything is what a scrape may show.
var everything = []*prometheus.Desc{
	tunnels, oldest, stale, received, sent, terminals, attached, agents, linkUp, firewall, unwritten, writable, databaseUp,
	devices, records, unsigned, checkpoint, backup, behind, connections, crowded, turnedAway, signIns, requests, faults,
}

// A scrape collects what is there.
type scrape struct {
	Sources

	log *slog.Logger
}

// Describe implements [prometheus.Collector].
func (s *scrape) Describe(to chan<- *prometheus.Desc) {
	for _, d := range everything {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (s *scrape) Collect(to chan<- prometheus.Metric) {
	s.manager(to)
	s.store(to)
	if s.Front != nil {
		f := s.Front()
		f.show(to)
	}
}

func gauge(to chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func counter(to chan<- prometheus.Metric, d *prometheus.Desc, v int64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// manager shows the tunnels.
func (s *scrape) manager(to chan<- prometheus.Metric) {
	st := s.Manager.Stats()
	for _, state := range tunnelStates {
		gauge(to, tunnels, float64(st.Tunnels[state]), string(state))
	}
	var age time.Duration
	if len(st.HandshakeAge) > 0 {
		age = slices.Max(st.HandshakeAge)
	}
	late := 0
	for _, a := range st.HandshakeAge {
		if a > staleHandshake {
			late++
		}
	}
	gauge(to, oldest, age.Seconds())
	gauge(to, stale, float64(late))
	counter(to, received, st.ReceivedBytes)
	counter(to, sent, st.SentBytes)
	gauge(to, terminals, float64(st.Terminals))
	gauge(to, attached, float64(st.Holders))
	gauge(to, agents, float64(st.Agents))
	gauge(to, linkUp, truth(st.LinkUp))
	gauge(to, firewall, truth(st.FirewallOK))
	gauge(to, unwritten, float64(st.Unrecorded))
	gauge(to, writable, truth(s.Manager.Recording() == nil))
}

// store shows what is in the database. What cannot be read is missing rather than zero.
func (s *scrape) store(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	f, err := s.Store.Figures(ctx)
	gauge(to, databaseUp, truth(err == nil))
	if err != nil {
		s.log.WarnContext(ctx, "metrics_incomplete", "err", err)
		return
	}
	for _, state := range deviceStates {
		gauge(to, devices, float64(f.Devices[state]), state)
	}
	counter(to, records, f.Records)
	gauge(to, unsigned, float64(f.Records-f.Signed))
	for d, at := range map[*prometheus.Desc]time.Time{checkpoint: f.SignedAt, backup: f.BackupAt} {
		if !at.IsZero() {
			gauge(to, d, time.Since(at).Seconds())
		}
	}
	if s.Sent == nil {
		return
	}
	seq, err := s.Sent()
	if err != nil {
		s.log.WarnContext(ctx, "metrics_incomplete", "err", err)
		return
	}
	gauge(to, behind, float64(max(f.Records-seq, 0)))
}

// show shows the figures.
func (f *Front) show(to chan<- prometheus.Metric) {
	gauge(to, connections, float64(f.Connections))
	counter(to, crowded, f.ConnectionsRefused)
	counter(to, turnedAway, f.AgentsRefused)
	counter(to, signIns, f.SignInFailures)
	for side, n := range f.Requests {
		counter(to, requests, n, side)
	}
	counter(to, faults, f.Faults)
}
