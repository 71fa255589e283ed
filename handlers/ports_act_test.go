package handlers

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"borealis/acl"
	"borealis/handlers/access"
	"borealis/store"
)

// card sends a form of the ports as htmx does.
func (c *client) card(device, act, fields string) answer {
	c.rig.t.Helper()
	return c.post("/devices/"+device+"/ports/"+act, fields, part("ports")...)
}

// row is the markup of one row of the card.
func (a answer) row(id string) string {
	_, rest, found := strings.Cut(a.body, `<tr id="port-`+id+`"`)
	if !found {
		return ""
	}
	text, _, _ := strings.Cut(rest, "</tr>")
	return text
}

// on reports whether a row's switch is on.
func (a answer) on(id string) bool {
	_, rest, _ := strings.Cut(a.row(id), `id="allow-`+id+`"`)
	input, _, _ := strings.Cut(rest, ">")
	return strings.Contains(input, "checked")
}

func TestPortsPage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	b := r.browser("ann", access.Operator)
	page := b.do(http.MethodGet, "/devices/"+d.ID+"/config", "", html...)
	for _, want := range []string{"Reverse VPN Tunnel - Allowed Ports", "3389/tcp", "3389/udp", `data-revision="0"`, "Not checked: no tunnel is up. Connect to check.", `id="port-add"`} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if strings.Contains(page.body, "Last changed") || !page.on("vnc") || page.on("rdp") {
		t.Error("the page is not as at first")
	}

	a := b.card(d.ID, "set", "revision=0&row=rdp&allowed=1")
	if a.StatusCode != http.StatusOK || !a.on("rdp") || !strings.Contains(a.row("rdp"), "Override") || !strings.Contains(a.row("rdp"), "by ann") {
		t.Errorf("allowed: %d %s", a.StatusCode, a.row("rdp"))
	}
	for _, want := range []string{`data-saved="rdp"`, `data-revision="1"`, "RDP is allowed.", "Last changed by ann", "/ports/undo"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the answer has no %s", want)
		}
	}
	if strings.Contains(a.body, "<!doctype") || !strings.HasPrefix(strings.TrimSpace(a.body), `<section id="ports"`) {
		t.Errorf("the answer is not the card: %.100s", a.body)
	}
	again := b.card(d.ID, "set", "revision=1&row=rdp&allowed=1")
	if again.StatusCode != http.StatusOK || !strings.Contains(again.body, `data-revision="1"`) || strings.Contains(again.body, "/ports/undo") {
		t.Errorf("again: %d", again.StatusCode)
	}
	undone := b.card(d.ID, "undo", "revision=1")
	if undone.StatusCode != http.StatusOK || undone.on("rdp") || !strings.Contains(undone.row("rdp"), "Default") || !strings.Contains(undone.body, `data-saved="rdp"`) || strings.Contains(undone.body, "data-toast") {
		t.Errorf("undone: %d %s", undone.StatusCode, undone.row("rdp"))
	}
	off := b.card(d.ID, "set", "revision=2&row=vnc") // a switch that is off sends nothing
	if off.on("vnc") || !strings.Contains(off.body, "VNC is closed.") {
		t.Errorf("closed: %s", off.row("vnc"))
	}
	back := b.card(d.ID, "set", "revision=3&row=vnc&allowed=1")
	if !strings.Contains(back.row("vnc"), "Default") {
		t.Errorf("the default by hand is an override: %s", back.row("vnc"))
	}
	noScripts := b.post("/devices/"+d.ID+"/ports/set", "revision=4&row=ssh", html...)
	if noScripts.StatusCode != http.StatusSeeOther || noScripts.Header.Get("Location") != "/devices/"+d.ID+"/config" {
		t.Errorf("without scripts: %d %v", noScripts.StatusCode, noScripts.Header)
	}
}

func TestPortsForAWhile(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	b := r.browser("ann", access.Operator)
	a := b.card(d.ID, "set", "revision=0&row=rdp&detailed=1&allowed=1&for=30m&until=&reason=+patch+night+")
	row := a.row("rdp")
	if !a.on("rdp") || !strings.Contains(row, "Until ") || !strings.Contains(row, "data-local") || !strings.Contains(row, "“patch night”") || !strings.Contains(a.body, "RDP is allowed for 30 minutes.") {
		t.Errorf("%d %s", a.StatusCode, row)
	}
	until := time.Now().Add(5 * time.Hour).UTC().Truncate(time.Minute)
	a = b.card(d.ID, "set", "revision=1&row=rdp&detailed=1&allowed=0&for=until&until="+url.QueryEscape(until.Format(time.RFC3339)))
	if a.on("rdp") || !strings.Contains(a.row("rdp"), `datetime="`+until.Format(time.RFC3339)+`"`) {
		t.Errorf("%d %s", a.StatusCode, a.row("rdp"))
	}
	a = b.card(d.ID, "default", "revision=2&row=rdp")
	if !strings.Contains(a.row("rdp"), "Default") {
		t.Errorf("%d %s", a.StatusCode, a.row("rdp"))
	}
	for fields, want := range map[string]string{
		"for=until&until=":                               "no time",
		"for=until&until=tomorrow":                       "no time",
		"for=until&until=2020-01-01T00:00":               "in the past",
		"for=until&until=2999-01-01T00:00":               "more than a year",
		"for=forever":                                    "no such choice",
		"reason=a%1bb":                                   "cannot be shown",
		"reason=" + strings.Repeat("a", acl.MaxReason+1): "longer than 200",
	} {
		a := b.card(d.ID, "set", "revision=3&row=rdp&detailed=1&allowed=1&"+fields)
		if a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.row("rdp"), want) || !strings.Contains(a.row("rdp"), `aria-invalid="true"`) || !strings.Contains(a.row("rdp"), "open>") {
			t.Errorf("%s: %d %s", fields, a.StatusCode, a.row("rdp"))
		}
	}
}

// TestPortsExpire: an override that has ended is gone from the page by itself.
func TestPortsExpire(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	b, p := r.browser("ann", access.Operator), r.program("prog", access.Operator)
	f := b.follow("view=device:" + d.ID)
	f.until(`data-revision="0"`)
	var a portsAnswer
	p.put(d.ID, 0, `{"services":{"rdp":{"allowed":true,"for_seconds":2}},"custom":[]}`).into(t, &a)
	if !a.service("rdp").Allowed {
		t.Fatalf("%+v", a)
	}
	f.until(`data-revision="2"`)
	if after := p.ports(d.ID); after.service("rdp").Allowed || after.Overridden {
		t.Errorf("after its end: %+v", after)
	}
	page := b.do(http.MethodGet, "/devices/"+d.ID+"/config", "", html...)
	if page.on("rdp") || !strings.Contains(page.row("rdp"), "Default") || !strings.Contains(page.body, "Last changed by the engine") {
		t.Errorf("the page: %s", page.row("rdp"))
	}
}

func TestCustomPorts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	b := r.browser("ann", access.Operator)
	a := b.card(d.ID, "add", "revision=0&label=+Web+&protocol=tcp&port=8443")
	if a.StatusCode != http.StatusOK || !a.on("tcp-8443") || !strings.Contains(a.row("tcp-8443"), "Web") || !strings.Contains(a.body, "Web is allowed.") {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	a = b.card(d.ID, "add", "revision=1&label=&protocol=udp&port=5000+-+5010")
	if !strings.Contains(a.row("udp-5000-5010"), "5000-5010/udp") {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	for fields, want := range map[string]string{
		"protocol=tcp&port=":                         "missing",
		"protocol=tcp&port=0":                        "no port 0",
		"protocol=tcp&port=70000":                    "no port 70000",
		"protocol=tcp&port=-1":                       "missing",
		"protocol=tcp&port=web":                      "is no port",
		"protocol=tcp&port=1-2-3":                    "is no port",
		"protocol=tcp&port=9000-8000":                "wrong way round",
		"protocol=tcp&port=8443":                     "there already",
		"protocol=udp&port=5010-5020":                "overlaps 5000-5010/udp",
		"protocol=tcp&port=3389":                     "RDP",
		"protocol=icmp&port=1":                       "no protocol",
		"protocol=&port=9000":                        "no protocol",
		"protocol=tcp&port=9000&label=a%1bb":         "cannot be shown",
		"protocol=tcp&port=9000&label=%E2%80%AEevil": "cannot be shown",
		"protocol=tcp&port=9000&label=" + strings.Repeat("a", acl.MaxLabel+1): "longer than 64",
	} {
		a := b.card(d.ID, "add", "revision=2&"+fields)
		typed, _ := url.ParseQuery(fields)
		if a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, `id="add-error"`) || !strings.Contains(a.body, want) || !strings.Contains(a.body, `aria-describedby="add-error"`) {
			t.Errorf("%s: %d", fields, a.StatusCode)
		}
		if port := typed.Get("port"); !strings.Contains(a.body, `value="`+port+`"`) {
			t.Errorf("%s: what was typed is lost", fields)
		}
	}
	a = b.card(d.ID, "set", "revision=2&row=tcp-8443")
	if a.on("tcp-8443") || !strings.Contains(a.row("tcp-8443"), "Web") {
		t.Errorf("closed: %s", a.row("tcp-8443"))
	}
	a = b.card(d.ID, "remove", "revision=3&row=tcp-8443")
	if a.row("tcp-8443") != "" || !strings.Contains(a.body, "Web is removed.") {
		t.Errorf("removed: %s", a.body)
	}
	a = b.card(d.ID, "undo", "revision=4")
	if a.row("tcp-8443") == "" || a.on("tcp-8443") {
		t.Errorf("undone: %s", a.row("tcp-8443"))
	}
	for _, act := range []string{"set", "remove", "default"} {
		if a := b.card(d.ID, act, "revision=5&row=tcp-1"); a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, "no such port any more") {
			t.Errorf("%s of a row that is not there: %d %s", act, a.StatusCode, a.body)
		}
	}
	full := make([]string, 0, acl.MaxCustom)
	for i := range acl.MaxCustom {
		full = append(full, fmt.Sprintf(`{"protocol":"tcp","from":%d}`, 20000+i))
	}
	var all portsAnswer
	r.program("prog", access.Operator).put(d.ID, 5, `{"services":{},"custom":[`+strings.Join(full, ",")+`]}`).into(t, &all)
	if a := b.card(d.ID, "add", "revision=6&protocol=tcp&port=9000"); a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, "at most 64 custom ports") {
		t.Errorf("the 65th: %d", a.StatusCode)
	}
}

func TestPortsResetAndClose(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	b := r.browser("ann", access.Operator)
	b.card(d.ID, "set", "revision=0&row=rdp&allowed=1")
	plain := b.card(d.ID, "reset", "revision=1") // nothing is lost: no question
	if plain.StatusCode != http.StatusOK || plain.on("rdp") {
		t.Errorf("%d %s", plain.StatusCode, plain.body)
	}
	b.card(d.ID, "add", "revision=2&protocol=tcp&port=8443")
	p := b.card(d.ID, "reset", "revision=3").problem(t)
	if p.Code != codeConfirm || p.Question != "Reset the ports to the defaults?" || p.Confirm != "Reset to defaults" || !strings.Contains(p.Detail, "1 custom port is removed") {
		t.Errorf("%+v", p)
	}
	page := b.post("/devices/"+d.ID+"/ports/reset", "revision=3", html...)
	if page.StatusCode != http.StatusConflict || !strings.Contains(page.body, `data-testid="ports-confirmed"`) || !strings.Contains(page.body, `name="confirmed" value="1"`) {
		t.Errorf("without scripts: %d", page.StatusCode)
	}
	if a := b.card(d.ID, "reset", "revision=3&confirmed=1"); a.StatusCode != http.StatusOK || a.row("tcp-8443") != "" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := b.card(d.ID, "undo", "revision=4"); a.row("tcp-8443") == "" {
		t.Errorf("undone: %d %s", a.StatusCode, a.body)
	}
	closed := b.card(d.ID, "close", "revision=5")
	for _, row := range []string{"powershell", "rdp", "vnc", "webrtc", "ssh", "tcp-8443"} {
		if closed.on(row) || closed.row(row) == "" {
			t.Errorf("%s is not closed", row)
		}
	}
	if a := b.do(http.MethodGet, "/devices/"+d.ID+"/summary", "", html...); !strings.Contains(a.body, "All ports of the device are closed") {
		t.Error("the summary does not say that all is closed")
	}
	if a := b.card(d.ID, "undo", "revision=6"); !a.on("powershell") || !a.on("tcp-8443") {
		t.Errorf("undone: %d %s", a.StatusCode, a.body)
	}
}

// TestPortsStalePage: a page that does not know of somebody's change overwrites nothing.
func TestPortsStalePage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	ann, bob := r.browser("ann", access.Admin), r.browser("bob", access.Operator)
	ann.card(d.ID, "set", "revision=0&row=rdp&allowed=1")
	a := bob.card(d.ID, "set", "revision=0&row=vnc")
	if a.StatusCode != http.StatusPreconditionFailed || !a.on("vnc") || !a.on("rdp") || !strings.Contains(a.body, "ann changed the ports meanwhile; your change was not made.") {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	_, toast, _ := strings.Cut(a.body, "data-toast")
	for _, want := range []string{"Do it anyway", `action="/devices/` + d.ID + `/ports/set"`, `name="row" value="vnc"`, `name="revision" value="1"`} {
		if !strings.Contains(toast, want) {
			t.Errorf("the message has no %s", want)
		}
	}
	if strings.Contains(toast, `value="0"`) {
		t.Error("the message offers the stale revision")
	}
	if a := bob.card(d.ID, "set", "revision=1&row=vnc"); a.StatusCode != http.StatusOK || a.on("vnc") || !a.on("rdp") {
		t.Errorf("anyway: %d", a.StatusCode)
	}
	if a := ann.card(d.ID, "undo", "revision=1"); a.StatusCode != http.StatusPreconditionFailed || strings.Contains(a.body, "Do it anyway") {
		t.Errorf("an undo that comes too late: %d", a.StatusCode)
	}
	if a := ann.post("/devices/"+d.ID+"/ports/reset", "revision=0", html...); a.StatusCode != http.StatusPreconditionFailed || !strings.Contains(a.body, "bob changed the ports meanwhile") {
		t.Errorf("without scripts: %d", a.StatusCode)
	}
}

func TestPortsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	admin, viewer := r.browser("ann", access.Admin), r.browser("vic", access.Viewer)
	page := viewer.do(http.MethodGet, "/devices/"+d.ID+"/config", "", html...)
	if !strings.Contains(page.body, `data-testid="ports-read-only"`) || strings.Contains(page.body, "/ports/") || strings.Count(page.body, `role="switch"`) != strings.Count(page.body, " disabled aria-label=\"Allow") {
		t.Error("a viewer's page can change something")
	}
	for _, act := range []string{"set", "add", "remove", "default", "reset", "close", "undo", "check"} {
		if p := viewer.card(d.ID, act, "revision=0&row=vnc").problem(t); p.Code != codeForbidden {
			t.Errorf("%s of a viewer: %+v", act, p)
		}
	}
	for path, want := range map[string]code{
		"/devices/" + d.ID + "/ports/dance": codeNotFound, "/devices/x/ports/set": codeUnknownDevice, "/devices/" + d.ID + "/ports/undo": codeNothingToUndo,
		"/devices/" + d.ID + "/ports/check": codeDown,
	} {
		if p := admin.post(path, "revision=0", part("ports")...).problem(t); p.Code != want {
			t.Errorf("%s: %+v", path, p)
		}
	}
	for _, fields := range []string{"row=vnc", "revision=&row=vnc", "revision=x&row=vnc"} {
		if p := admin.card(d.ID, "set", fields).problem(t); p.Code != codeInvalid || p.Field != "revision" {
			t.Errorf("%s: %+v", fields, p)
		}
	}
	if page := admin.do(http.MethodGet, "/devices/"+d.ID+"/config", "", html...); !strings.Contains(page.body, `data-revision="0"`) {
		t.Error("something was changed")
	}
}

// TestPortsCutAsks: closing a port under an open connection asks first, and cuts it.
func TestPortsCutAsks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	b := r.browser("ann", access.Operator)
	b.connect(device, "t1")
	shell := b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Offset: -1})
	shell.hear("hello")

	d, err := r.store.Device(t.Context(), device)
	if err != nil {
		t.Fatal(err)
	}
	p := b.card(device, "set", "revision=0&row=powershell").problem(t)
	if p.Code != codeConfirm || p.Detail != "1 connection is open to Shell (the live terminal) on "+d.Hostname+"; turning it off cuts it now." || p.Question != "Turn Shell off?" || p.Confirm != "Turn off" {
		t.Errorf("%+v", p)
	}
	if p := b.card(device, "close", "revision=0").problem(t); !strings.HasSuffix(p.Detail, " on "+d.Hostname+"; this cuts it now.") {
		t.Errorf("%+v", p)
	}
	if a := b.card(device, "set", "revision=0&row=vnc"); a.StatusCode != http.StatusOK {
		t.Errorf("closing what nobody uses: %d", a.StatusCode)
	}
	if a := b.card(device, "set", "revision=1&row=powershell&confirmed=1"); a.StatusCode != http.StatusOK || a.on("powershell") {
		t.Errorf("%d %s", a.StatusCode, a.row("powershell"))
	}
	if m := shell.hear("error"); m["code"] != string(codePortClosed) || !strings.Contains(fmt.Sprint(m), "was closed") {
		t.Errorf("the page of the terminal is told %v", m)
	}
	r.recorded("terminal_closed")
}
