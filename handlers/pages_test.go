package handlers

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"borealis/handlers/access"
	"borealis/store"
)

var html = []string{"Accept", "text/html"}

// part are the headers with which htmx asks for an element.
func part(id string) []string {
	return []string{"HX-Request", "true", "HX-Target", id, "Accept", "text/html"}
}

// TestPagesAndParts: a page is whole for a browser, and a part for htmx.
func TestPagesAndParts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc-1", store.Active)
	b := r.browser("ann", access.Admin)
	for path, target := range map[string]string{
		"/devices":                         "list",
		"/devices?q=pc":                    "list",
		"/devices?page=99999":              "list",
		"/devices/" + d.ID + "/summary":    "panel",
		"/devices/" + d.ID + "/config":     "panel",
		"/devices/" + d.ID + "/powershell": "panel",
		"/devices/" + d.ID + "/activity":   "panel",
		"/tunnels":                         "",
		"/activity":                        "",
		"/enrolment":                       "enrolment",
	} {
		page := b.do(http.MethodGet, path, "", html...)
		if page.StatusCode != http.StatusOK || !strings.HasPrefix(page.body, "<!doctype html>") || !strings.Contains(page.body, "ann") {
			t.Errorf("%s: %d %.60s", path, page.StatusCode, page.body)
		}
		if vary := page.Header.Get("Vary"); !strings.Contains(vary, "HX-Request") || !strings.Contains(vary, "HX-Target") {
			t.Errorf("%s: Vary is %q", path, vary)
		}
		if target == "" {
			continue
		}
		if a := b.do(http.MethodGet, path, "", part(target)...); a.StatusCode != http.StatusOK || strings.Contains(a.body, "<!doctype") {
			t.Errorf("%s for %s: %d %.60s", path, target, a.StatusCode, a.body)
		}
		for _, whole := range [][]string{part("something"), append(part(target), "HX-History-Restore-Request", "true")} {
			if a := b.do(http.MethodGet, path, "", whole...); !strings.HasPrefix(a.body, "<!doctype html>") {
				t.Errorf("%s with %v is not whole", path, whole)
			}
		}
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.browser("ann", access.Admin)
	for path, want := range map[string]string{
		"/": "/devices", "/devices/abc": "/devices/abc/summary",
	} {
		if a := b.do(http.MethodGet, path, ""); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != want {
			t.Errorf("%s leads to %d %s", path, a.StatusCode, a.Header.Get("Location"))
		}
	}
}

// TestErrorPages: a person gets a page in the console's frame, with the same code that
// a program would get.
func TestErrorPages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc-1", store.Active)
	b := r.browser("ann", access.Admin)
	for path, want := range map[string]struct {
		status int
		code   code
	}{
		"/nothing":                    {404, codeNotFound},
		"/devices/x/summary":          {404, codeUnknownDevice},
		"/devices/" + d.ID + "/other": {404, codeNotFound},
		"/activity?before=x":          {422, codeInvalid},
		"/logout":                     {405, codeMethod},
	} {
		page := b.do(http.MethodGet, path, "", html...)
		if page.StatusCode != want.status || !strings.Contains(page.body, string(want.code)) || !strings.Contains(page.body, "ann") {
			t.Errorf("%s: %d %.300s", path, page.StatusCode, page.body)
		}
		if p := b.do(http.MethodGet, path, "", "HX-Request", "true").problem(t); p.Code != want.code {
			t.Errorf("%s for htmx: %+v", path, p)
		}
	}
	page := r.stranger().do(http.MethodGet, "/devices", "", "Host", "evil.example", "Accept", "text/html")
	if page.StatusCode != http.StatusMisdirectedRequest || !strings.Contains(page.body, string(codeWrongHost)) || strings.Contains(page.body, `id="nav"`) {
		t.Errorf("%d %s", page.StatusCode, page.body)
	}
}

// TestHostileTexts: what devices, codes and addresses say is shown as text.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	d, _ := r.device(evil, store.Active)
	b := r.browser("ann", access.Admin)
	p := r.program("prog", access.Admin)
	text, err := json.Marshal(evil)
	if err != nil {
		t.Fatal(err)
	}
	var set portsAnswer
	p.put(d.ID, 0, fmt.Sprintf(`{"services":{"rdp":{"allowed":true,"reason":%[1]s}},"custom":[{"protocol":"tcp","from":1,"label":%[1]s}]}`, text)).into(t, &set)
	for _, path := range []string{
		"/devices", "/devices/" + d.ID + "/summary", "/devices/" + d.ID + "/config", "/devices/" + d.ID + "/activity", "/activity", "/devices?q=" + "%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
		"/devices/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E/summary", "/nothing/%22%3E%3Cscript%3E", "/login?next=/%22%3E%3Cscript%3E",
	} {
		if a := b.do(http.MethodGet, path, "", html...); strings.Contains(a.body, "<script>") || strings.Contains(a.body, "<img src=x") {
			t.Errorf("%s: a text is markup", path)
		}
	}
}

func TestPagesAreCompressed(t *testing.T) {
	t.Parallel()
	b := newRig(t).browser("ann", access.Admin)
	request := b.request(http.MethodGet, "/devices", "", "Accept-Encoding", "gzip")
	response, err := b.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(response.Header.Get("Vary"), "Accept-Encoding") {
		t.Fatalf("%v", response.Header)
	}
	z, err := gzip.NewReader(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(z)
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(page)), "</html>") {
		t.Errorf("%v %.100s", err, page)
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	b := newRig(t).browser("ann", access.Admin)
	for _, path := range []string{"/devices", "/api/devices", "/login", "/healthz"} {
		if a := b.do(http.MethodHead, path, ""); a.StatusCode >= 400 || a.body != "" {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
}

func TestDeviceActs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device("pc", store.Pending)
	b := r.browser("ann", access.Admin)
	at := func(what string) string { return "/devices/" + d.ID + "/" + what }
	if p := b.post(at("tunnel/connect"), "", part("device-head")...).problem(t); p.Code != codePending {
		t.Errorf("before approval: %+v", p)
	}
	if a := b.post(at("approve"), "", part("device-head")...); a.StatusCode != http.StatusOK || !strings.Contains(a.body, `id="device-head"`) {
		t.Errorf("approve: %d %s", a.StatusCode, a.body)
	}
	if p := b.post(at("tunnel/connect"), "", part("device-head")...).problem(t); p.Code != codeOffline {
		t.Errorf("offline: %+v", p)
	}
	if p := b.post(at("tunnel/keep-open"), "", part("device-head")...).problem(t); p.Code != codeDown {
		t.Errorf("keep open when down: %+v", p)
	}
	conn := r.joinAgent(id)
	a := b.post(at("tunnel/connect"), "", append(part("device-head"), "Borealis-Tab", "tab1")...)
	if a.StatusCode != http.StatusOK || !strings.Contains(a.body, `data-tunnel-state="offered"`) || !strings.Contains(a.body, `data-attached="true"`) {
		t.Errorf("connect: %d %s", a.StatusCode, a.body)
	}
	st, err := r.manager.Status(t.Context(), d.ID)
	if err != nil || len(st.Operators) != 1 || st.Operators[0].Kind != "console" {
		t.Errorf("%+v %v", st.Operators, err)
	}
	other := r.browser("bob", access.Operator)
	if p := other.post(at("tunnel/keep-open"), "", part("device-head")...).problem(t); p.Code != codeDown {
		t.Errorf("keep open of somebody else: %+v", p)
	}
	if p := other.post(at("tunnel/disconnect"), "force=1", part("device-head")...).problem(t); p.Code != codeForbidden {
		t.Errorf("force without the right: %+v", p)
	}
	if a := b.post(at("tunnel/keep-open"), "", part("device-head")...); a.StatusCode != http.StatusOK {
		t.Errorf("keep open: %d %s", a.StatusCode, a.body)
	}
	if a := b.do(http.MethodGet, "/tunnels", "", html...); !strings.Contains(a.body, st.TunnelID) {
		t.Error("the tunnel is not in the list")
	}
	if a := b.post(at("tunnel/disconnect"), "force=1", part("tunnel-list")...); a.StatusCode != http.StatusOK || !strings.Contains(a.body, `id="tunnel-list"`) || strings.Contains(a.body, st.TunnelID) {
		t.Errorf("stop for everyone: %d %s", a.StatusCode, a.body)
	}
	if a := b.post(at("tunnel/disconnect"), "", part("device-head")...); a.StatusCode != http.StatusOK {
		t.Errorf("disconnecting again: %d %s", a.StatusCode, a.body)
	}
	if a := b.post(at("tunnel/disconnect"), "", html...); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != at("summary") {
		t.Errorf("without scripts: %d %s", a.StatusCode, a.Header.Get("Location"))
	}
	if a := b.post("/devices/x/tunnel/disconnect", "", part("device-head")...); a.problem(t).Code != codeUnknownDevice {
		t.Errorf("of an unknown device: %s", a.body)
	}
	conn.CloseNow()
}
