package views

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// A session is one line, and its steps are in it for whoever opens it.
func TestSessionIsOneEntry(t *testing.T) {
	t.Parallel()
	root := parse(t, ActivityPage(cannedPage(), Activity{Now: now, Events: []Event{cannedSession()}}))
	lines := elements(root, with("class", "event"))
	if len(lines) != 1 {
		t.Fatalf("%d lines", len(lines))
	}
	summary := elements(lines[0], named("summary"))
	if len(summary) != 1 || text(summary[0]) != "nora used FIN-LT-0142 for 12 min with jon · nobody used it for the whole idle time" {
		t.Errorf("the line is %q", text(lines[0]))
	}
	var steps []string
	for _, n := range elements(lines[0], func(n *html.Node) bool { return n.Data == "li" }) {
		steps = append(steps, text(n))
	}
	want := []string{
		"+0 ms nora asked for the tunnel", "+40 ms nora had it up in 40 ms", "+1.0 s nora opened terminal 1", "+2:00 jon joined the tunnel",
		"+3:00 jon left the tunnel", "+4:00 nora closed terminal 1", "+12:00 engine ended the tunnel: nobody used it for the whole idle time",
	}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Errorf("steps (-want +got)\n%s", diff)
	}
}

func TestSessionInWords(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text, kind string
		change           func(*Event)
	}{
		{"connecting", "is connecting to FIN-LT-0142", "info", func(e *Event) { e.Steps = e.Steps[:1] }},
		{"up", "uses FIN-LT-0142, for 59 min so far", "ok", func(e *Event) { e.Steps = e.Steps[:2] }},
		{"joined", "uses FIN-LT-0142, for 59 min so far with jon", "ok", func(e *Event) { e.Steps = e.Steps[:5] }},
		{"never up", "did not reach FIN-LT-0142 · no WireGuard handshake came about", "err", func(e *Event) {
			e.Steps = []Event{e.Steps[0], {At: now, Kind: "tunnel_down", End: cannedSilent}}
		}},
		{"many", "uses FIN-LT-0142, for 59 min so far with a, b, c, 2 others", "ok", func(e *Event) {
			e.Steps = e.Steps[:2]
			for _, name := range []string{"a", "b", "nora", "c", "a", "d", "e"} {
				e.Steps = append(e.Steps, Event{Actor: name, Kind: "operator_joined"})
			}
		}},
		{"without a name", "is connecting to " + deviceID, "info", func(e *Event) { e.Hostname, e.Steps = "", e.Steps[:1] }},
	} {
		e := cannedSession()
		tc.change(&e)
		if text, kind := e.using(now); text != tc.text || kind != tc.kind {
			t.Errorf("%s: %q (%s), want %q (%s)", tc.name, text, kind, tc.text, tc.kind)
		}
	}
	alone := cannedSession()
	alone.Steps = nil
	if alone.session() {
		t.Error("a line without steps is a session")
	}
	if got := cannedSession().offsetText(Event{At: now.Add(30 * time.Hour)}); got != "+31 h" {
		t.Errorf("a day later is %s", got)
	}
}

// Each record is a row with all that is known, and links lead to the device.
func TestAuditRows(t *testing.T) {
	t.Parallel()
	root := parse(t, AuditPage(cannedPage(), cannedAudit()))
	rows := elements(root, with("data-testid", "audit-record"))
	if len(rows) != 4 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, want := range []string{
		"42 1 min ago nora 203.0.113.24 signed in Done",
		"41 1 h ago eve 198.51.100.7 sign in failed Refused wrong password",
		"40 1 h ago engine ports mismatch FIN-LT-0142 Failed 5900/tcp answers",
	} {
		if got := text(rows[i]); got != want {
			t.Errorf("row %d is %q, want %q", i, got, want)
		}
	}
	if n := len(elements(rows[2], with("href", "/devices/"+deviceID+"/activity"))); n != 1 {
		t.Errorf("%d links to the device", n)
	}
	if got := text(elements(root, with("data-testid", "audit-chain"))[0]); got != "128 records. Signed up to number 100, 30 s ago · 28 records since" {
		t.Errorf("the chain is %q", got)
	}
}

// The filter stays in every address that leads on.
func TestAuditKeepsTheFilter(t *testing.T) {
	t.Parallel()
	v := cannedAudit()
	v.Filter = AuditFilter{Actor: "nora & jon", Kind: "signed_in", Device: deviceID}
	root := parse(t, AuditPage(cannedPage(), v))
	const filter = "actor=nora+%26+jon"
	var links []string
	for _, n := range elements(root, named("a")) {
		if href, _ := attribute(n, "href"); strings.Contains(href, filter) {
			links = append(links, href)
		}
	}
	for _, want := range []string{
		"/audit?actor=nora+%26+jon&before=39&device=" + deviceID + "&kind=signed_in",
		"/audit?actor=nora+%26+jon&before=93&device=" + deviceID + "&kind=signed_in",
		"/audit?actor=nora+%26+jon&device=" + deviceID + "&kind=signed_in",
		"/audit?actor=nora+%26+jon&kind=signed_in",
		"/audit/export?actor=nora+%26+jon&device=" + deviceID + "&format=jsonl&kind=signed_in",
		"/audit/export?actor=nora+%26+jon&device=" + deviceID + "&format=csv&kind=signed_in",
	} {
		if !slices.Contains(links, want) {
			t.Errorf("%s is not among %q", want, links)
		}
	}
	if got := text(elements(root, with("data-testid", "audit-count"))[0]); got != "4 records of 128 of one device ( of all ) Show all" {
		t.Errorf("the count is %q", got)
	}
}

// Kinds that are in use have words of their own.
func TestKindsHaveWords(t *testing.T) {
	t.Parallel()
	already := []string{"locked", "unlocked", "signed_in", "signed_out"} // are words as they are
	for _, kind := range []string{
		"operator_added", "operator_changed", "operator_removed", "password_changed", "totp_added", "totp_removed", "passkey_added", "passkey_removed",
		"recovery_codes_made", "recovery_code_used", "factors_reset", "signed_in", "second_factor_verified", "token_added", "token_removed", "locked",
		"unlocked", "lock_expired", "code_created", "code_removed", "device_enrolled", "device_approved", "device_denied", "device_expired",
		"device_quarantined", "device_revoked", "tunnel_requested", "tunnel_up", "tunnel_down", "operator_joined", "operator_left", "terminal_opened",
		"terminal_closed", "ports_changed", "port_override_expired", "ports_mismatch", "agent_online", "agent_offline", "session_repaired", "firewall_repaired",
		"firewall_lost", "firewall_restored", "sign_in_failed", "signed_out", "session_revoked", "audit_exported", "audit_verified", "audit_broken",
		"syslog_gap", "records_lost", "token_refused", "verification_failed", "enrolment_refused",
		"agent_update_offered", "agent_updated", "agent_update_failed", "agent_update_rolled_back",
	} {
		if words, _ := doing(Event{Kind: kind}); words == strings.ReplaceAll(kind, "_", " ") && !slices.Contains(already, kind) {
			t.Errorf("%s has no words of its own", kind)
		}
	}
	for result, colour := range map[string]string{"done": "info", "refused": "warn", "failed": "err"} {
		if _, kind := doing(Event{Kind: "signed_in", Result: result}); kind != colour {
			t.Errorf("%s is %s", result, kind)
		}
	}
}
