package views

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// cell is the text of a cell of a row.
func cell(t *testing.T, row *html.Node, class string) string {
	t.Helper()
	cells := elements(row, func(n *html.Node) bool {
		c, _ := attribute(n, "class")
		return (n.Data == "td" || n.Data == "th") && strings.Contains(" "+c+" ", " "+class+" ")
	})
	if len(cells) != 1 {
		t.Fatalf("%d cells %q", len(cells), class)
	}
	return text(cells[0])
}

func TestAllowedPorts(t *testing.T) {
	t.Parallel()
	root := parse(t, DevicePage(cannedPage(), cannedDevice(TabConfig)))
	if n := elements(root, with("id", "ports-title")); len(n) != 1 || text(n[0]) != "Reverse VPN Tunnel - Allowed Ports" {
		t.Error("the heading is not the agreed one")
	}
	var got []string
	for _, row := range elements(one(t, root, "ports-table"), named("tr"))[1:] {
		box := elements(row, with("role", "switch"))[0]
		line := cell(t, row, "service") + " | " + cell(t, row, "port") + " | " + cell(t, row, "source")
		if _, checked := attribute(box, "checked"); checked {
			line += " [on]"
		}
		got = append(got, strings.ReplaceAll(line, " Saved", ""))
	}
	want := []string{
		"PowerShell Live shell | 47002/tcp answers | Default [on]",
		"RDP Remote Desktop | 3389/tcp 3389/udp tcp answers udp no answer | Default [on]",
		"SSH | 22/tcp nothing listens there | Until 20:49 UTC by nora, 5 min ago “patch night” [on]",
		"VNC Screen sharing | 5900/tcp refused | Override by jon, 1 h ago",
		"Custom port | 8443/tcp answers | Custom by jon, 1 h ago [on]",
		"Cameras Custom port | 5000-5010/udp | Custom by jon, 1 h ago [on]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	until := elements(root, func(n *html.Node) bool { _, ok := attribute(n, "data-local"); return ok })
	if len(until) != 1 {
		t.Fatalf("%d times of an end", len(until))
	}
	at, _ := attribute(until[0], "datetime")
	title, _ := attribute(until[0], "title")
	if at != "2026-11-22T20:49:52Z" || title != "2026-11-22 20:49:52 UTC" {
		t.Errorf("the end is %s, %s", at, title)
	}
	if got := text(one(t, root, "ports-changed")); got != "Last changed by jon, 1 h ago ." {
		t.Errorf("says %q", got)
	}
}

// TestPortForms: each form says which revision it was drawn from, and works without
// scripts.
func TestPortForms(t *testing.T) {
	t.Parallel()
	root := parse(t, PortsCard(cannedPorts()))
	acts := map[string]int{}
	for _, f := range elements(root, named("form")) {
		action, _ := attribute(f, "action")
		method, _ := attribute(f, "method")
		act := action[strings.LastIndex(action, "/")+1:]
		acts[act]++
		if method != "post" || !strings.HasPrefix(action, "/devices/"+deviceID+"/ports/") {
			t.Errorf("a form goes by %s to %s", method, action)
		}
		if act == "check" {
			continue
		}
		if n := elements(f, with("name", "revision")); len(n) != 1 {
			t.Errorf("%s: %d revisions", act, len(n))
		} else if v, _ := attribute(n[0], "value"); v != "7" {
			t.Errorf("%s is about revision %s", act, v)
		}
		if n := elements(f, with("type", "submit")); len(n) != 1 {
			t.Errorf("%s: %d buttons", act, len(n))
		}
	}
	if diff := cmp.Diff(map[string]int{"set": 12, "remove": 2, "default": 2, "add": 1, "reset": 1, "close": 1, "check": 1}, acts); diff != "" {
		t.Errorf("forms (-want +got)\n%s", diff)
	}
	viewer := cannedPorts()
	viewer.CanChange, viewer.CanCheck = false, false
	root = parse(t, PortsCard(viewer))
	if n := elements(root, named("form")); len(n) != 0 {
		t.Errorf("a viewer has %d forms", len(n))
	}
	for _, box := range elements(root, with("role", "switch")) {
		if _, disabled := attribute(box, "disabled"); !disabled {
			t.Error("a viewer has a switch")
		}
	}
	one(t, root, "ports-read-only")
}

func TestProofLine(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*Ports)
		want   string
		kind   string
	}{
		{"ok", func(*Ports) {}, "4 allowed: 2 answering; 61 others refused; checked just now", "ok"},
		{"a while ago", func(v *Ports) { v.Proof.At = now.Add(-2 * time.Minute) }, "4 allowed: 2 answering; 61 others refused; checked 2 min ago", "ok"},
		{"all closed", func(v *Ports) { v.Proof.Open = nil }, "None allowed; 61 others refused; checked just now", "ok"},
		{"no tunnel", func(v *Ports) { v.Tunnel, v.Proof = "", Proof{} }, "Not checked: no tunnel is up. Connect to check.", "idle"},
		{"ended", func(v *Ports) { v.Tunnel = "ended" }, "Not checked: no tunnel is up. Connect to check.", "idle"},
		{"starting", func(v *Ports) { v.Tunnel, v.Proof = "offered", Proof{} }, "Not checked yet: the tunnel is coming up.", "idle"},
		{"stopping", func(v *Ports) { v.Tunnel = "closing" }, "Not checked: the tunnel is going down.", "idle"},
		{"checking", func(v *Ports) { v.Proving = true }, "Checking through the tunnel…", "info"},
		{"not yet", func(v *Ports) { v.Proof = Proof{} }, "Not checked yet.", "idle"},
		{"stale", func(v *Ports) { v.Proof.Stale = true }, "Not checked since the last change.", "idle"},
		{"alarm", func(v *Ports) { *v = alarmedPorts() }, "4 allowed: 2 answering; 61 others refused; not as shown; checked just now", "err"},
	} {
		v := cannedPorts()
		tc.change(&v)
		root := parse(t, PortsCard(v))
		if got := text(one(t, root, "proof-line")); got != tc.want {
			t.Errorf("%s: says %q, want %q", tc.name, got, tc.want)
		}
		if kind, _ := attribute(one(t, root, "proof"), "data-state"); kind != tc.kind {
			t.Errorf("%s: is %s, want %s", tc.name, kind, tc.kind)
		}
		if alarms := having(root, "ports-alarm"); (alarms == 1) != (tc.kind == "err") {
			t.Errorf("%s: %d alarms", tc.name, alarms)
		}
	}
}

// TestPortsAlarm: what is not as shown is said at once, in the card and over the device.
func TestPortsAlarm(t *testing.T) {
	t.Parallel()
	v := cannedDevice(TabSummary)
	v.Ports = alarmedPorts()
	head := one(t, parse(t, DeviceHead(v)), "head-alarm")
	if role, _ := attribute(head, "role"); role != "alert" || !strings.Contains(text(head), "5900/tcp is closed, but it answers.") {
		t.Errorf("the head says %q as %q", text(head), role)
	}
	root := parse(t, PortsCard(v.Ports))
	card := one(t, root, "ports-alarm")
	if role, _ := attribute(card, "role"); role != "alert" || !strings.Contains(text(card), "5900/tcp is closed, but it answers.") {
		t.Errorf("the card says %q as %q", text(card), role)
	}
	if got := text(one(t, root, "proof-ports")); !strings.Contains(got, "5900/tcp reachable") || !strings.Contains(got, "has not confirmed this list") {
		t.Errorf("tried: %q", got)
	}
	v.Tunnel.State = "ended"
	if n := having(parse(t, DeviceHead(v)), "head-alarm"); n != 0 {
		t.Error("the head warns of a tunnel that is gone")
	}
}

func TestRefusedPortForms(t *testing.T) {
	t.Parallel()
	root := parse(t, PortsCard(refusedPorts()))
	for field, wrong := range map[string]string{"add-port": "add-error", "port-until-ssh": "port-error-ssh"} {
		input := elements(root, with("id", field))[0]
		described, _ := attribute(input, "aria-describedby")
		bad, _ := attribute(input, "aria-invalid")
		if described != wrong || bad != "true" {
			t.Errorf("%s is invalid: %q, by %q", field, bad, described)
		}
		if n := elements(root, with("id", wrong)); len(n) != 1 || text(n[0]) == "" {
			t.Errorf("%s is not said", wrong)
		}
	}
	for id, want := range map[string]string{"add-port": "70000", "add-label": "Web", "port-until-ssh": "2026-11-22T19:00"} {
		if got, _ := attribute(elements(root, with("id", id))[0], "value"); got != want {
			t.Errorf("%s lost what was typed: %q", id, got)
		}
	}
	for _, id := range []string{"add-label", "add-protocol", "port-reason-ssh"} {
		if _, bad := attribute(elements(root, with("id", id))[0], "aria-invalid"); bad {
			t.Errorf("%s is said to be wrong", id)
		}
	}
}

func TestFirewallOfTheEngine(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		link Link
		want string
	}{
		{Link{Mode: "netstack", Firewall: Firewall{Kind: "none"}}, "inside the program"},
		{Link{Mode: "kernel", Firewall: Firewall{Kind: "iptables"}}, "iptables (nft), and inside the program healthy"},
		{Link{Mode: "kernel", Firewall: Firewall{Kind: "iptables", RepairedAt: now.Add(-time.Hour), Detail: "the chain BRL-OUT was gone"}}, "repaired 1 h ago (the chain BRL-OUT was gone)"},
		{Link{Mode: "tun", Firewall: Firewall{Kind: "iptables", Error: "the rules cannot be put back"}}, "not in place the rules cannot be put back"},
	} {
		if got := text(parse(t, TunnelList(Tunnels{Now: now, Engine: tc.link}))); !strings.Contains(got, tc.want) {
			t.Errorf("%+v: says %q, want %q in it", tc.link.Firewall, got, tc.want)
		}
	}
}

func TestEveryPortEventHasWords(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"ports_changed", "port_override_expired", "ports_mismatch", "firewall_repaired", "firewall_lost", "firewall_restored"} {
		if words, _ := doing(Event{Kind: kind}); words == strings.ReplaceAll(kind, "_", " ") {
			t.Errorf("%s has no words of its own", kind)
		}
	}
}
