package handlers

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"
)

// TestBadInput sends what no client should send. Each is answered by a problem
// document that says what is wrong, and nothing changes.
func TestBadInput(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	pending, _ := r.device("new-pc", store.Pending)
	revoked, _ := r.device("old-pc", store.Revoked)
	set := func(id string) string { return `{"device_id":"` + id + `"}` }
	const unknown = "01990000-0000-7000-8000-000000000000"
	const at = "/api/tunnel/connect"
	big := `{"device_id":"` + strings.Repeat("a", maxBody) + `"}`
	exact := `{"device_id":"` + strings.Repeat("a", maxBody-len(set(""))) + `"}`
	before := r.kinds()
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		code                     code
		detail                   string
	}{
		{"unknown device", "POST", at, set(unknown), nil, 404, codeUnknownDevice, "no device"},
		{"id that is none", "POST", at, set("../../etc"), nil, 404, codeUnknownDevice, ""},
		{"offline device", "POST", at, set(d.ID), nil, 409, codeOffline, "last seen at"},
		{"pending device", "POST", at, set(pending.ID), nil, 409, codePending, "approval"},
		{"revoked device", "POST", at, set(revoked.ID), nil, 409, codeRevoked, "revoked"},
		{"no body", "POST", at, "", []string{"Content-Type", "application/json"}, 400, codeMalformed, "no body"},
		{"not JSON", "POST", at, "device_id=x", nil, 400, codeMalformed, "byte 1"},
		{"half an object", "POST", at, `{"device_id":`, nil, 400, codeMalformed, ""},
		{"half a string", "POST", at, `{"device_id":"x`, nil, 400, codeMalformed, ""},
		{"an array", "POST", at, `[]`, nil, 400, codeMalformed, "not a JSON object"},
		{"null", "POST", at, `null`, nil, 400, codeMalformed, "not a JSON object"},
		{"a string", "POST", at, `"x"`, nil, 400, codeMalformed, "not a JSON object"},
		{"two objects", "POST", at, set(d.ID) + set(d.ID), nil, 400, codeMalformed, "follows"},
		{"rubbish after it", "POST", at, set(d.ID) + " x", nil, 400, codeMalformed, "follows"},
		{"a field twice", "POST", at, `{"device_id":"a","device_id":"b"}`, nil, 400, codeMalformed, "twice"},
		{"a field twice in another case", "POST", at, `{"device_id":"a","Device_ID":"b"}`, nil, 400, codeMalformed, "twice"},
		{"unknown field", "POST", at, `{"device_id":"a","port":1}`, nil, 400, codeUnknownField, `"port"`},
		{"number for text", "POST", at, `{"device_id":1}`, nil, 422, codeInvalid, "device_id"},
		{"text for a truth", "POST", at, `{"device_id":"a","new":"yes"}`, nil, 422, codeInvalid, "new"},
		{"missing field", "POST", at, `{}`, nil, 422, codeInvalid, "device_id"},
		{"empty id", "POST", at, set(""), nil, 422, codeInvalid, "device_id"},
		{"64 KiB", "POST", at, exact, nil, 404, codeUnknownDevice, ""},
		{"more than 64 KiB", "POST", at, big, nil, 413, codeTooLarge, "65536"},
		{"a form", "POST", at, "device_id=x", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, codeMediaType, ""},
		{"text", "POST", at, set(d.ID), []string{"Content-Type", "text/plain"}, 415, codeMediaType, ""},
		{"no type", "POST", at, set(d.ID), []string{"Content-Type", ""}, 415, codeMediaType, ""},
		{"wrong method", "GET", at, "", nil, 405, codeMethod, "POST"},
		{"wrong method with a body", "PUT", at, set(d.ID), nil, 405, codeMethod, "POST"},
		{"unknown route", "POST", "/api/tunnel", "{}", nil, 404, codeNotFound, "/api/tunnel"},
		{"status without a device", "GET", "/api/tunnel/status", "", nil, 422, codeInvalid, "device_id"},
		{"status of an unknown device", "GET", "/api/tunnel/status?device_id=" + unknown, "", nil, 404, codeUnknownDevice, ""},
		{"alias without a device", "GET", "/api/tunnel/connect/status", "", nil, 422, codeInvalid, "device_id"},
		{"disconnect of nothing", "DELETE", "/api/tunnel/disconnect", "", nil, 422, codeInvalid, ""},
		{"disconnect of two", "DELETE", "/api/tunnel/disconnect?device_id=a&tunnel_id=b", "", nil, 422, codeInvalid, ""},
		{"disconnect by force of what", "DELETE", "/api/tunnel/disconnect?device_id=a&force=perhaps", "", nil, 422, codeInvalid, "force"},
		{"disconnect of an unknown device", "DELETE", "/api/tunnel/disconnect", set(unknown), nil, 404, codeUnknownDevice, ""},
		{"disconnect of an unknown tunnel", "DELETE", "/api/tunnel/disconnect", `{"tunnel_id":"x"}`, nil, 409, codeDown, ""},
		{"disconnect when down", "DELETE", "/api/tunnel/disconnect?device_id=" + d.ID, "", nil, 409, codeDown, ""},
		{"page that is none", "GET", "/api/devices?limit=many", "", nil, 422, codeInvalid, "limit"},
		{"page that is too large", "GET", "/api/devices?limit=1000000", "", nil, 422, codeInvalid, "limit"},
		{"page before the first", "GET", "/api/devices?offset=-1", "", nil, 422, codeInvalid, "offset"},
		{"one unknown device", "GET", "/api/devices/" + unknown, "", nil, 404, codeUnknownDevice, ""},
		{"approving an unknown device", "POST", "/api/devices/" + unknown + "/approve", "", nil, 404, codeUnknownDevice, ""},
		{"approving with a field", "POST", "/api/devices/" + pending.ID + "/approve", `{"x":1}`, nil, 400, codeUnknownField, ""},
		{"activity of an unknown device", "GET", "/api/activity?device_id=" + unknown, "", nil, 404, codeUnknownDevice, ""},
		{"activity before what", "GET", "/api/activity?before=x", "", nil, 422, codeInvalid, "before"},
		{"ports of an unknown device", "GET", "/api/devices/" + unknown + "/ports", "", nil, 404, codeUnknownDevice, ""},
		{"ports without a revision", "PUT", "/api/devices/" + d.ID + "/ports", "{}", nil, 428, codePrecondition, "revision"},
		{"ports by the wrong method", "POST", "/api/devices/" + d.ID + "/ports", "{}", nil, 405, codeMethod, "PUT"},
		{"a code for nobody", "POST", "/api/codes", `{"uses":0}`, nil, 422, codeInvalid, "1 to 10000"},
		{"a code for everybody", "POST", "/api/codes", `{"uses":10001}`, nil, 422, codeInvalid, ""},
		{"a code that never was", "POST", "/api/codes", `{"ttl_seconds":-1}`, nil, 422, codeInvalid, "7 days"},
		{"a code for ever", "POST", "/api/codes", `{"ttl_seconds":9223372036854775807}`, nil, 422, codeInvalid, "7 days"},
		{"a code for an odd site", "POST", "/api/codes", `{"site":"a\u001bb"}`, nil, 422, codeInvalid, "site"},
	} {
		p := r.program("program-"+strings.ReplaceAll(c.name, " ", "-"), access.Admin)
		a := p.do(c.method, c.path, c.body, c.headers...)
		got := a.problem(t)
		if got.Status != c.status || got.Code != c.code || !strings.Contains(got.Detail, c.detail) {
			t.Errorf("%s: %d %s %q, want %d %s %q", c.name, got.Status, got.Code, got.Detail, c.status, c.code, c.detail)
		}
		if got.Type != "urn:borealis:problem:"+string(c.code) || got.Title == "" || got.Hint == "" {
			t.Errorf("%s: %+v", c.name, got)
		}
		if (c.status == 405) != (a.Header.Get("Allow") != "") {
			t.Errorf("%s: Allow is %q", c.name, a.Header.Get("Allow"))
		}
	}
	if after := r.kinds(); len(after) != len(before) {
		t.Errorf("bad input changed something: %v", after[len(before):])
	}
	if len(r.manager.Tunnels()) != 0 {
		t.Error("there is a tunnel")
	}
}

func TestOfflineSaysWhen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	p := r.program("ann", access.Admin).do(http.MethodPost, "/api/tunnel/connect", `{"device_id":"`+d.ID+`"}`).problem(t)
	if p.LastSeen == nil || !p.LastSeen.Equal(d.LastSeen) {
		t.Errorf("last seen %v, want %v", p.LastSeen, d.LastSeen)
	}
}

func TestAllow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.program("ann", access.Admin)
	for path, want := range map[string]string{
		"/api/tunnel/connect":    "POST",
		"/api/tunnel/disconnect": "DELETE",
		"/api/devices":           "GET, HEAD",
	} {
		if a := p.do(http.MethodPatch, path, ""); a.Header.Get("Allow") != want || a.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d %q, want %q", path, a.StatusCode, a.Header.Get("Allow"), want)
		}
	}
}

func TestDevicesAPI(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.program("ann", access.Admin)
	var none devicesAnswer
	if a := p.do(http.MethodGet, "/api/devices", ""); !strings.Contains(a.body, `"devices":[]`) {
		t.Errorf("no devices are %s", a.body)
	}
	p.do(http.MethodGet, "/api/devices", "").into(t, &none)
	a, _ := r.device("alpha", store.Active)
	b, _ := r.device("beta", store.Pending)
	var all devicesAnswer
	p.do(http.MethodGet, "/api/devices", "").into(t, &all)
	if all.Total != 2 || len(all.Devices) != 2 || all.Devices[0].ID != a.ID || all.Devices[1].State != store.Pending {
		t.Errorf("%+v", all)
	}
	var some devicesAnswer
	p.do(http.MethodGet, "/api/devices?q=BET&limit=1", "").into(t, &some)
	if some.Total != 1 || some.Devices[0].Hostname != "beta" || some.Devices[0].Online || some.Devices[0].LastSeen == nil {
		t.Errorf("%+v", some)
	}
	p.do(http.MethodGet, "/api/devices?offset=1&limit=1", "").into(t, &some)
	if some.Total != 2 || len(some.Devices) != 1 || some.Devices[0].ID != b.ID {
		t.Errorf("%+v", some)
	}
	var one deviceDetail
	p.do(http.MethodGet, "/api/devices/"+b.ID, "").into(t, &one)
	if one.ID != b.ID || one.Pin != b.Pin || one.Tunnel.State != "down" || one.Tunnel.DeviceID != b.ID || one.CreatedAt == nil {
		t.Errorf("%+v", one)
	}

	for _, step := range []struct{ do, state, kind string }{
		{"approve", store.Active, "device_approved"},
		{"approve", store.Active, "device_approved"}, // again changes nothing
		{"quarantine", store.Quarantined, "device_quarantined"},
		{"approve", store.Active, "device_approved"},
		{"revoke", store.Revoked, "device_revoked"},
	} {
		p.do(http.MethodPost, "/api/devices/"+b.ID+"/"+step.do, "").into(t, &one)
		if kinds := r.kinds(); one.State != step.state || kinds[len(kinds)-1] != step.kind {
			t.Errorf("%s: %s, %v", step.do, one.State, kinds)
		}
	}
}

func TestActivityAPI(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.program("ann", access.Admin)
	d, _ := r.device("pc", store.Active)
	for i := range 5 {
		if err := r.store.AddRecord(t.Context(), store.Record{At: time.Now(), DeviceID: d.ID, Kind: "tunnel_up", Detail: strings.Repeat("x", i)}); err != nil {
			t.Fatal(err)
		}
	}
	var first, second, last activityAnswer
	p.do(http.MethodGet, "/api/activity?limit=4&device_id="+d.ID, "").into(t, &first)
	if len(first.Activity) != 4 || first.Next == nil || first.Activity[0].Detail != "xxxx" || first.Activity[0].Hostname != "pc" {
		t.Fatalf("%+v", first)
	}
	p.do(http.MethodGet, "/api/activity?limit=2&before="+strconv.FormatInt(*first.Next, 10), "").into(t, &second)
	if len(second.Activity) != 2 || second.Next == nil || second.Activity[1].Kind != "device_enrolled" {
		t.Errorf("%+v", second)
	}
	p.do(http.MethodGet, "/api/activity?before=1", "").into(t, &last)
	if last.Activity == nil || len(last.Activity) != 0 || last.Next != nil {
		t.Errorf("%+v", last)
	}
}

// TestTunnelsUnavailable: the UDP port is taken; the console stays up and says why.
func TestTunnelsUnavailable(t *testing.T) {
	t.Parallel()
	taken := newRig(t)
	port := taken.manager.Link().Port
	r := newRig(t, func(c *tunnel.Config) { c.Link.ListenPort = port })
	p := r.program("ann", access.Admin)
	var all tunnelsAnswer
	p.do(http.MethodGet, "/api/tunnels", "").into(t, &all)
	if !strings.Contains(all.Link.Error, "is used by ") || all.Total != 0 {
		t.Errorf("%+v", all)
	}
	page := r.browser("bob", access.Admin).do(http.MethodGet, "/devices", "")
	if page.StatusCode != http.StatusOK || !strings.Contains(page.body, "is used by ") {
		t.Errorf("the page does not say it: %d", page.StatusCode)
	}
	d, id := r.device("pc", store.Active)
	r.joinAgent(id)
	got := p.do(http.MethodPost, "/api/tunnel/connect", `{"device_id":"`+d.ID+`"}`).problem(t)
	if got.Code != codeUnavailable || !strings.Contains(got.Detail, "is used by ") {
		t.Errorf("%+v", got)
	}
}

// TestFaultsAreHidden: what breaks inside is in the log and not in the answer.
func TestFaultsAreHidden(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.browser("ann", access.Admin)
	r.mux.Get("/api/fault", r.call(func(*http.Request, principal) (any, error) {
		return nil, store.ErrDamaged
	}))
	a := b.do(http.MethodGet, "/api/fault", "")
	if p := a.problem(t); p.Code != codeInternal || strings.Contains(a.body, "damaged") {
		t.Errorf("%s", a.body)
	}
	if !strings.Contains(r.logs.String(), "database is damaged") {
		t.Error("the fault is not in the log")
	}
}
