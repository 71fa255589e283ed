package views

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"borealis/static"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// one is the only element with a data-testid.
func one(t *testing.T, root *html.Node, testid string) *html.Node {
	t.Helper()
	found := elements(root, with("data-testid", testid))
	if len(found) != 1 {
		t.Fatalf("%d elements with data-testid=%q, want 1", len(found), testid)
	}
	return found[0]
}

// having is the number of elements with a data-testid.
func having(root *html.Node, testid string) int {
	return len(elements(root, with("data-testid", testid)))
}

func TestFirstPageIsSmall(t *testing.T) {
	t.Parallel()
	const most, mostRequests = 130_000, 12
	files := []string{
		"app.css", "pages.css", "app.js", "live.js", "ui.js", "favicon.svg",
		"vendor/htmx.min.js", "vendor/inter.woff2", "vendor/jetbrains-mono.woff2",
	}
	requests, size := 2, 8_000 // the page itself and the event stream, with headers of all
	for _, name := range files {
		r := httptest.NewRequest(http.MethodGet, static.Path(name), nil)
		r.Header.Set("Accept-Encoding", "br")
		w := httptest.NewRecorder()
		static.Handler().ServeHTTP(w, r)
		requests++
		size += w.Body.Len()
	}
	if size > most || requests > mostRequests {
		t.Errorf("the first page takes %d bytes in %d requests, want at most %d in %d", size, requests, most, mostRequests)
	}
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	root := parse(t, LoginPage(Login{Theme: "dark", Name: "nora", Next: "/tunnels", Error: Note{Kind: "err", Text: "Wrong.", Hint: "Wait."}}))
	form := one(t, root, "sign-in-form")
	got := map[string]string{}
	for _, n := range elements(form, named("input")) {
		name, _ := attribute(n, "name")
		value, _ := attribute(n, "value")
		kind, _ := attribute(n, "type")
		got[name] = kind + " " + value
	}
	want := map[string]string{"name": "text nora", "password": "password ", "next": "hidden /tunnels"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got)\n%s", diff)
	}
	if n := elements(root, with("role", "alert")); len(n) != 1 || text(n[0]) != "Wrong. Wait." {
		t.Errorf("the refusal is not said")
	}
	if n := elements(root, with("data-theme", "dark")); len(n) != 1 || n[0].Data != "html" {
		t.Error("the page is not dark")
	}
	if n := elements(root, named("script")); len(n) != 0 {
		t.Error("the sign-in page has scripts")
	}
}

func TestDeviceList(t *testing.T) {
	t.Parallel()
	root := parse(t, DevicesPage(cannedPage(), cannedDevices()))
	if n := having(root, "device-row"); n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
	row := elements(root, with("id", "row-"+deviceID))
	if len(row) != 1 || !strings.Contains(text(row[0]), "FIN-LT-0142 Online Up 10.255.0.42 2 operators Windows 11 Oslo now") {
		t.Errorf("the first row is %q", text(row[0]))
	}
	if n := elements(root, with("rel", "next")); len(n) != 1 {
		t.Error("no way to the next page")
	} else if href, _ := attribute(n[0], "href"); href != "/devices?page=2" {
		t.Errorf("the next page is %s", href)
	}
	search := elements(root, with("id", "search"))[0]
	if target, _ := attribute(search, "hx-target"); target != "#list" {
		t.Error("typing in the search field does not filter the list")
	}
	elsewhere := cannedPage()
	elsewhere.Section, elsewhere.View = "activity", ""
	if _, live := attribute(elements(parse(t, ActivityPage(elsewhere, Activity{})), with("id", "search"))[0], "hx-get"); live {
		t.Error("the search field filters a list that is not on the page")
	}
}

func TestDeviceHead(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		change  func(*Device)
		want    map[string]int
		pill    string
		blocked string // what the head says about why not; "" = nothing
	}{
		{"up and attached", func(*Device) {}, map[string]int{"disconnect-button": 1, "keep-open-button": 1, "stop-all-button": 1, "tunnel-pill": 1}, "Online", ""},
		{"up for others", func(v *Device) { v.Attached = false }, map[string]int{"connect-button": 1, "stop-all-button": 1, "tunnel-pill": 1}, "Online", ""},
		{"starting", func(v *Device) { v.Tunnel.State = "offered" }, map[string]int{"disconnect-button": 1, "stop-all-button": 1, "tunnel-pill": 1}, "Online", ""},
		{"down", func(v *Device) { v.Tunnel, v.Attached = Tunnel{}, false }, map[string]int{"connect-button": 1}, "Online", ""},
		{"ended", func(v *Device) { v.Tunnel.State, v.Attached = "ended", false }, map[string]int{"connect-button": 1}, "Online", ""},
		{
			"offline", func(v *Device) {
				v.Tunnel, v.Attached, v.Online, v.LastSeen = Tunnel{}, false, false, now.Add(-3*time.Hour)
			},
			map[string]int{"connect-button": 1},
			"Offline", "last seen 3 h ago",
		},
		{
			"never seen", func(v *Device) { v.Tunnel, v.Attached, v.Online, v.LastSeen = Tunnel{}, false, false, time.Time{} },
			map[string]int{"connect-button": 1},
			"Offline", "never called in",
		},
		{"pending", func(v *Device) { v.Tunnel, v.Attached, v.State = Tunnel{}, false, "pending" }, map[string]int{"approve-button": 1, "deny-button": 1}, "Pending", "Awaits approval"},
		{"pending, no right", func(v *Device) { v.Tunnel, v.Attached, v.State, v.CanManage = Tunnel{}, false, "pending", false }, nil, "Pending", "Awaits approval"},
		{
			"quarantined", func(v *Device) { v.Tunnel, v.Attached, v.State = Tunnel{}, false, "quarantined" },
			map[string]int{"approve-button": 1},
			"Quarantined", "Quarantined",
		},
		{"revoked", func(v *Device) { v.Tunnel, v.Attached, v.State = Tunnel{}, false, "revoked" }, nil, "Revoked", "with a new key"},
		{
			"no tunnels", func(v *Device) { v.Tunnel, v.Attached, v.Unavailable = Tunnel{}, false, "UDP port 30000 is in use" },
			map[string]int{"connect-button": 1},
			"Online", "UDP port 30000 is in use",
		},
		{"no right to stop all", func(v *Device) { v.CanManage = false }, map[string]int{"disconnect-button": 1, "keep-open-button": 1, "tunnel-pill": 1}, "Online", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v := cannedDevice(TabSummary)
			tc.change(&v)
			root := parse(t, DeviceHead(v))
			got := map[string]int{}
			for _, id := range []string{"connect-button", "disconnect-button", "keep-open-button", "approve-button", "deny-button", "stop-all-button", "tunnel-pill"} {
				if n := having(root, id); n > 0 {
					got[id] = n
				}
			}
			if tc.want == nil {
				tc.want = map[string]int{}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("controls (-want +got)\n%s", diff)
			}
			if p := text(one(t, root, "state-pill")); p != tc.pill {
				t.Errorf("state %q, want %q", p, tc.pill)
			}
			said := ""
			if n := elements(root, with("id", "blocked")); len(n) == 1 {
				said = text(n[0])
			}
			if !strings.Contains(said, tc.blocked) || (said == "") != (tc.blocked == "") {
				t.Errorf("says %q, want %q in it", said, tc.blocked)
			}
			if connect := elements(root, with("data-testid", "connect-button")); len(connect) == 1 {
				if _, disabled := attribute(connect[0], "disabled"); disabled != (tc.blocked != "") {
					t.Errorf("Connect is disabled: %v, but the head says %q", disabled, said)
				}
			}
		})
	}
}

// What the scripts and tests read from the head.
func TestDeviceHeadData(t *testing.T) {
	t.Parallel()
	head := elements(parse(t, DeviceHead(cannedDevice(TabSummary))), with("id", "device-head"))[0]
	got := map[string]string{}
	for _, a := range head.Attr {
		if strings.HasPrefix(a.Key, "data-") {
			got[a.Key] = a.Val
		}
	}
	want := map[string]string{
		"data-device-id": deviceID, "data-tunnel-id": cannedTunnel().ID, "data-tunnel-state": "up", "data-tunnel-reason": "",
		"data-online": "true", "data-attached": "true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if n := elements(head, with("data-countdown", "821")); len(n) != 1 || text(n[0]) != "13:41" {
		t.Error("the idle time does not count down")
	}
}

func TestStopQuestionNamesTheOthers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		operators []Attached
		want      string
	}{
		{[]Attached{{Name: "nora", You: true}}, "Every shell"},
		{[]Attached{{Name: "nora", You: true}, {Name: "jon"}}, "jon is connected too."},
		{[]Attached{{Name: "ana"}, {Name: "nora", You: true}, {Name: "jon"}, {Name: "bo"}}, "ana, jon and bo are connected too."},
	} {
		v := cannedDevice(TabSummary)
		v.Tunnel.Operators = tc.operators
		if got := v.stopQuestion(); !strings.HasPrefix(got, tc.want) {
			t.Errorf("asks %q, want it to begin with %q", got, tc.want)
		}
	}
}

func TestTabs(t *testing.T) {
	t.Parallel()
	for _, tab := range []string{TabSummary, TabConfig, TabShell, TabActivity} {
		root := parse(t, DevicePage(cannedPage(), cannedDevice(tab)))
		current := elements(root, func(n *html.Node) bool {
			v, _ := attribute(n, "aria-current")
			return v == "page" && strings.HasPrefix(mustID(n), "tab-")
		})
		if len(current) != 1 || mustID(current[0]) != "tab-"+tab {
			t.Errorf("%s: it is not the current tab", tab)
		}
		if n := elements(root, with("data-tab", tab)); len(n) != 1 {
			t.Errorf("%s: the panel does not say which tab it is", tab)
		}
		panel := elements(root, with("id", "panel"))[0]
		if having(panel, "terminal") != 0 || having(root, "terminal") != 1 {
			t.Errorf("%s: the terminal must lie beside the panel, which is swapped", tab)
		}
	}
	for os, want := range map[string]string{"windows": "PowerShell", "linux": "Shell", "": "Shell"} {
		v := cannedDevice(TabShell)
		v.OS = os
		if got := text(one(t, parse(t, DevicePanel(v)), "tab-powershell")); got != want {
			t.Errorf("%s: the tab is called %q, want %q", os, got, want)
		}
	}
	if got := draw(t, DevicePanel(cannedDevice(TabConfig))); !strings.HasPrefix(got, "<title>FIN-LT-0142 – Advanced Config · Borealis</title>") {
		t.Errorf("a change of tabs does not bring the title: %.80s", got)
	}
}

func mustID(n *html.Node) string { id, _ := attribute(n, "id"); return id }

func TestEnrolment(t *testing.T) {
	t.Parallel()
	v := cannedEnrolment()
	root := parse(t, EnrolmentPage(cannedPage(), v))
	if got := text(one(t, root, "code-string")); got != v.New {
		t.Errorf("the code is %q", got)
	}
	if n := len(elements(root, func(n *html.Node) bool { c, ok := attribute(n, "data-copy"); return ok && c == v.New })); n != 1 {
		t.Errorf("%d buttons copy the code, want 1", n)
	}
	var states []string
	for _, n := range elements(root, with("data-testid", "code-state")) {
		states = append(states, text(n))
	}
	if diff := cmp.Diff([]string{"Usable", "Used up", "Expired"}, states); diff != "" {
		t.Errorf("states (-want +got)\n%s", diff)
	}
	viewer := parse(t, EnrolmentPage(cannedPage(), Enrolment{Codes: v.Codes}))
	if having(viewer, "code-form") != 0 || len(elements(viewer, with("data-testid", "code-remove"))) != 0 {
		t.Error("somebody without the right is offered to make or delete codes")
	}
}

func TestErrorPages(t *testing.T) {
	t.Parallel()
	inside := parse(t, ErrorPage(cannedPage(), Problem{Status: 404, Title: "There is no such device", Detail: "D.", Hint: "H.", Code: "unknown_device"}))
	if got := text(one(t, inside, "problem")); got != "There is no such device D. H. 404 unknown_device" {
		t.Errorf("says %q", got)
	}
	if n := len(elements(inside, with("id", "nav"))); n != 1 {
		t.Error("no navigation for somebody who is signed in")
	}
	p := cannedPage()
	p.Operator = ""
	outside := parse(t, ErrorPage(p, Problem{Status: 401, Title: "You are not signed in"}))
	if n := len(elements(outside, with("id", "nav"))); n != 0 {
		t.Error("navigation for nobody")
	}
	if n := elements(outside, with("href", "/login?next=%2Fdevices%3Fq%3Dfin")); len(n) != 1 {
		t.Error("no way to sign in and come back")
	}
}

// The terminal can put the end reasons in words by itself, and tells faults from the others.
func TestTerminalKnowsTheEndReasons(t *testing.T) {
	t.Parallel()
	root := parse(t, terminal(cannedDevice(TabShell)))
	for _, want := range []Ending{cannedLeft, cannedIdle, cannedSilent} {
		found := elements(root, with("data-reason", want.Reason))
		if len(found) != 1 {
			t.Errorf("%d elements know %s", len(found), want.Reason)
			continue
		}
		_, fault := attribute(found[0], "data-fault")
		if hint, _ := attribute(found[0], "data-hint"); text(found[0]) != want.Text || hint != want.Hint || fault != (want.Kind == "err") {
			t.Errorf("%s: %q, %q, a fault: %v", want.Reason, text(found[0]), hint, fault)
		}
	}
}

// TestLastTunnelSaysWhy it ended, and what to do when that was a fault.
func TestLastTunnelSaysWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		end        Ending
		want, hint string
		colour     string
	}{
		{cannedLeft, "the last operator left", "", "idle"},
		{cannedIdle, "nobody used it for the whole idle time", "", "warn"},
		{cannedSilent, "no WireGuard handshake came about", "Let UDP pass.", "err"},
		{Ending{}, "no reason was recorded", "", "err"},
	} {
		v := cannedDevice(TabSummary)
		v.Tunnel = Tunnel{ID: "t", State: "ended", EndedAt: now.Add(-time.Minute), End: c.end}
		root := parse(t, lastTunnel(v))
		said := text(root)
		if !strings.HasSuffix(said, strings.TrimSpace(c.want+". "+c.hint)) || len(elements(root, with("class", "dot "+c.colour))) != 1 {
			t.Errorf("%+v: %q", c.end, said)
		}
	}
}
