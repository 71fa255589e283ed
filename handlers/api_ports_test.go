package handlers

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"borealis/acl"
	"borealis/handlers/access"
	"borealis/store"

	"github.com/google/go-cmp/cmp"
)

// put sends a whole set of ports with the ETag of a revision.
func (c *client) put(device string, revision int64, body string) answer {
	c.rig.t.Helper()
	return c.do(http.MethodPut, "/api/devices/"+device+"/ports", body, "If-Match", etag(revision))
}

// ports reads a device's ports.
func (c *client) ports(device string) portsAnswer {
	c.rig.t.Helper()
	var a portsAnswer
	got := c.do(http.MethodGet, "/api/devices/"+device+"/ports", "")
	got.into(c.rig.t, &a)
	if tag := got.Header.Get("ETag"); tag != etag(a.Revision) {
		c.rig.t.Errorf("revision %d has the ETag %s", a.Revision, tag)
	}
	return a
}

func (a portsAnswer) service(id string) serviceAnswer {
	for _, s := range a.Services {
		if s.ID == id {
			return s
		}
	}
	return serviceAnswer{}
}

func TestPortsAPI(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	p := r.program("ann", access.Operator)
	first := p.ports(d.ID)
	if first.Revision != 0 || first.Overridden || len(first.Services) != len(acl.Services()) || len(first.Custom) != 0 || first.Proof != nil {
		t.Errorf("at first: %+v", first)
	}
	if diff := cmp.Diff(portTexts(acl.Defaults("linux")), first.Allowed); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	rdp := first.service("rdp")
	if diff := cmp.Diff([]string{"3389/tcp", "3389/udp"}, rdp.Ports); diff != "" || rdp.Allowed || rdp.Default || rdp.Override != nil {
		t.Errorf("RDP: %+v", rdp)
	}

	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	got := p.put(d.ID, 0, fmt.Sprintf(`{"services":{"rdp":{"allowed":true,"for_seconds":1800,"reason":"patch night"},"vnc":{"allowed":false}},
		"custom":[{"protocol":"udp","from":5000,"to":5010,"label":"Cameras","until":%q},{"protocol":"tcp","from":8443,"allowed":false}]}`, until.Format(time.RFC3339)))
	var a portsAnswer
	got.into(t, &a)
	if a.Revision != 1 || got.Header.Get("ETag") != `"1"` || !a.Overridden {
		t.Errorf("%+v %v", a, got.Header)
	}
	rdp = a.service("rdp")
	if o := rdp.Override; !rdp.Allowed || rdp.Default || o == nil || o.By != "ann" || o.At == nil || o.Reason != "patch night" || o.Until == nil ||
		time.Until(*o.Until) > 30*time.Minute || time.Until(*o.Until) < 29*time.Minute {
		t.Errorf("RDP: %+v %+v", rdp, rdp.Override)
	}
	want := []customAnswer{
		{Port: "5000-5010/udp", Protocol: "udp", From: 5000, To: 5010, Label: "Cameras", Allowed: true},
		{Port: "8443/tcp", Protocol: "tcp", From: 8443, To: 8443},
	}
	if o := a.Custom[0].Override; o == nil || !o.Until.Equal(until) {
		t.Errorf("Cameras: %+v", o)
	}
	for i := range a.Custom {
		a.Custom[i].Override = nil
	}
	if diff := cmp.Diff(want, a.Custom); diff != "" {
		t.Errorf("custom (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"47002/tcp", "3389/tcp", "3389/udp", "3478/udp", "22/tcp", "5000-5010/udp"}, a.Allowed); diff != "" {
		t.Errorf("allowed (-want +got):\n%s", diff)
	}
	if again := p.ports(d.ID); again.Revision != 1 || len(again.Custom) != 2 {
		t.Errorf("read again: %+v", again)
	}
	if kinds := r.kinds(); kinds[len(kinds)-1] != "ports_changed" {
		t.Errorf("on record: %v", kinds)
	}

	p.put(d.ID, 1, `{"services":{},"custom":[]}`).into(t, &a)
	if a.Revision != 2 || a.Overridden || cmp.Diff(first.Allowed, a.Allowed) != "" {
		t.Errorf("after the reset: %+v", a)
	}
	all := `{"services":{"powershell":{"allowed":false},"vnc":{"allowed":false},"webrtc":{"allowed":false},"ssh":{"allowed":false}},"custom":[]}`
	if got := p.put(d.ID, 2, all); !strings.Contains(got.body, `"allowed_ports":[]`) || !strings.Contains(got.body, `"overridden":true`) {
		t.Errorf("all closed: %s", got.body)
	}
	if problem := p.do(http.MethodPost, "/api/devices/"+d.ID+"/ports/check", "").problem(t); problem.Code != codeDown {
		t.Errorf("a check without a tunnel: %+v", problem)
	}
}

// TestPortsAPITwoOperators: nobody overwrites what somebody else did meanwhile.
func TestPortsAPITwoOperators(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	ann, bob := r.program("ann", access.Admin), r.program("bob", access.Operator)
	seen := bob.ports(d.ID).Revision
	var a portsAnswer
	ann.put(d.ID, 0, `{"services":{"vnc":{"allowed":false}},"custom":[]}`).into(t, &a)

	refused := bob.put(d.ID, seen, `{"services":{"rdp":{"allowed":true}},"custom":[]}`)
	p := refused.problem(t)
	if p.Status != http.StatusPreconditionFailed || p.Code != codePortsChanged || refused.Header.Get("ETag") != `"1"` {
		t.Errorf("%+v", p)
	}
	if p.Yours == nil || p.Current == nil {
		t.Fatalf("not both versions: %s", refused.body)
	}
	if !p.Yours.service("rdp").Allowed || !p.Yours.service("vnc").Allowed || p.Yours.Revision != 0 {
		t.Errorf("yours: %+v", p.Yours)
	}
	if o := p.Current.service("vnc").Override; p.Current.service("rdp").Allowed || o == nil || o.By != "ann" || p.Current.Revision != 1 {
		t.Errorf("current: %+v", p.Current)
	}
	if now := ann.ports(d.ID); now.Revision != 1 || now.service("rdp").Allowed {
		t.Errorf("something was overwritten: %+v", now)
	}
	bob.put(d.ID, p.Current.Revision, `{"services":{"rdp":{"allowed":true},"vnc":{"allowed":false}},"custom":[]}`).into(t, &a)
	if a.service("vnc").Override.By != "ann" || a.service("rdp").Override.By != "bob" {
		t.Errorf("who decided what is lost: %+v", a)
	}
}

func TestPortsAPIRights(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	viewer := r.program("vic", access.Viewer)
	viewer.ports(d.ID)
	for _, a := range []answer{
		viewer.put(d.ID, 0, `{"services":{},"custom":[]}`),
		viewer.do(http.MethodPost, "/api/devices/"+d.ID+"/ports/check", ""),
	} {
		if p := a.problem(t); p.Code != codeForbidden {
			t.Errorf("%s: %+v", a.Request.Method, p)
		}
	}
	if p := r.stranger().do(http.MethodGet, "/api/devices/"+d.ID+"/ports", "").problem(t); p.Code != codeUnauthenticated {
		t.Errorf("%+v", p)
	}
}

func TestPortsAPIBadInput(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	p := r.program("ann", access.Admin)
	custom := func(text string) string { return `{"services":{},"custom":[` + text + `]}` }
	service := func(text string) string { return `{"services":{` + text + `},"custom":[]}` }
	var many []string
	for i := range acl.MaxCustom + 1 {
		many = append(many, fmt.Sprintf(`{"protocol":"tcp","from":%d}`, 10000+i))
	}
	past, far := time.Now().Add(-time.Minute).Format(time.RFC3339), time.Now().Add(400*24*time.Hour).Format(time.RFC3339)
	for _, c := range []struct {
		name, body string
		status     int
		code       code
		field      string
		detail     string
	}{
		{"nothing", `{}`, 422, codeInvalid, "services", "missing"},
		{"no custom", `{"services":{}}`, 422, codeInvalid, "custom", "missing"},
		{"null", `{"services":null,"custom":null}`, 422, codeInvalid, "services", "missing"},
		{"unknown field", `{"services":{},"custom":[],"x":1}`, 400, codeUnknownField, "x", ""},
		{"unknown field of a service", service(`"rdp":{"allow":true}`), 400, codeUnknownField, "allow", ""},
		{"unknown field of a port", custom(`{"protocol":"tcp","port":1}`), 400, codeUnknownField, "port", ""},
		{"a service twice", service(`"rdp":{"allowed":true},"rdp":{"allowed":false}`), 400, codeMalformed, "", "twice"},
		{"a field twice, deep", custom(`{"protocol":"tcp","from":1,"from":2}`), 400, codeMalformed, "", "twice"},
		{"unknown service", service(`"telnet":{"allowed":true}`), 422, codeInvalid, "services.telnet", "telnet"},
		{"service without a choice", service(`"rdp":{}`), 422, codeInvalid, "services.rdp.allowed", "missing"},
		{"service without a name", service(`"":{"allowed":true}`), 422, codeInvalid, "services.", "no id"},
		{"port 0", custom(`{"protocol":"tcp","from":0}`), 422, codeInvalid, "custom[0].port", "no port 0"},
		{"port 70000", custom(`{"protocol":"tcp","from":70000}`), 422, codeInvalid, "custom[0].port", "no port 70000"},
		{"port -1", custom(`{"protocol":"tcp","from":-1}`), 422, codeInvalid, "custom[0].port", "no port -1"},
		{"no port", custom(`{"protocol":"tcp"}`), 422, codeInvalid, "custom[0].from", "missing"},
		{"half a port", custom(`{"protocol":"tcp","from":1.5}`), 422, codeInvalid, "custom.from", ""},
		{"port as text", custom(`{"protocol":"tcp","from":"8443"}`), 422, codeInvalid, "custom.from", "string"},
		{"range to 70000", custom(`{"protocol":"tcp","from":1,"to":70000}`), 422, codeInvalid, "custom[0].port", "70000"},
		{"range reversed", custom(`{"protocol":"tcp","from":5010,"to":5000}`), 422, codeInvalid, "custom[0].port", "wrong way round"},
		{"duplicate", custom(`{"protocol":"tcp","from":8443},{"protocol":"tcp","from":8443}`), 422, codeInvalid, "custom[1].port", "there already"},
		{"overlapping", custom(`{"protocol":"udp","from":1000,"to":2000},{"protocol":"tcp","from":1500},{"protocol":"udp","from":1500,"to":2500}`), 422, codeInvalid, "custom[2].port", "overlaps 1000-2000/udp"},
		{"over a service", custom(`{"protocol":"udp","from":3000,"to":3500}`), 422, codeInvalid, "custom[0].port", "RDP"},
		{"unknown protocol", custom(`{"protocol":"icmp","from":1}`), 422, codeInvalid, "custom[0].protocol", "icmp"},
		{"protocol in capitals", custom(`{"protocol":"TCP","from":1}`), 422, codeInvalid, "custom[0].protocol", "TCP"},
		{"control characters in a label", custom(`{"protocol":"tcp","from":8443,"label":"a\u001b[31mb"}`), 422, codeInvalid, "custom[0].label", "cannot be shown"},
		{"a label that turns around", custom(`{"protocol":"tcp","from":8443,"label":"\u202eevil"}`), 422, codeInvalid, "custom[0].label", "cannot be shown"},
		{"a long label", custom(`{"protocol":"tcp","from":8443,"label":"` + strings.Repeat("ä", 65) + `"}`), 422, codeInvalid, "custom[0].label", "64"},
		{"a long reason", service(`"rdp":{"allowed":true,"reason":"` + strings.Repeat("a", 201) + `"}`), 422, codeInvalid, "services.rdp.reason", "200"},
		{"65 ports", custom(strings.Join(many, ",")), 422, codeInvalid, "custom[64].port", "at most 64"},
		{"an end in the past", service(`"rdp":{"allowed":true,"until":"` + past + `"}`), 422, codeInvalid, "services.rdp.until", "past"},
		{"an end too far ahead", custom(`{"protocol":"tcp","from":1,"until":"` + far + `"}`), 422, codeInvalid, "custom[0].until", "year"},
		{"two ends", service(`"rdp":{"allowed":true,"until":"` + far + `","for_seconds":5}`), 422, codeInvalid, "services.rdp.until", "one of the two"},
		{"for no time", service(`"rdp":{"allowed":true,"for_seconds":0}`), 422, codeInvalid, "services.rdp.for_seconds", "seconds from 1"},
		{"for ever", service(`"rdp":{"allowed":true,"for_seconds":9223372036854775807}`), 422, codeInvalid, "services.rdp.for_seconds", ""},
		{"an end that is no time", service(`"rdp":{"allowed":true,"until":"soon"}`), 400, codeMalformed, "", ""},
		{"too deep", strings.Repeat(`{"services":`, 40), 400, codeMalformed, "", "deep"},
	} {
		got := p.put(d.ID, 0, c.body).problem(t)
		if got.Status != c.status || got.Code != c.code || got.Field != c.field || !strings.Contains(got.Detail, c.detail) {
			t.Errorf("%s: %d %s %q %q, want %d %s %q %q", c.name, got.Status, got.Code, got.Field, got.Detail, c.status, c.code, c.field, c.detail)
		}
	}
	const empty = `{"services":{},"custom":[]}`
	for match, want := range map[string]code{
		"": codePrecondition, "*": codePrecondition, "0": codePrecondition, `W/"0"`: codePrecondition, `"x"`: codePrecondition,
		`"0", "1"`: codePrecondition, `"-1"`: codePrecondition, `"00"`: codePrecondition, `"7"`: codePortsChanged, `"9223372036854775807"`: codePortsChanged,
	} {
		if got := p.do(http.MethodPut, "/api/devices/"+d.ID+"/ports", empty, "If-Match", match).problem(t); got.Code != want {
			t.Errorf("If-Match %s: %+v, want %s", match, got, want)
		}
	}
	for _, a := range []answer{
		p.do(http.MethodGet, "/api/devices/nobody/ports", ""), p.put("nobody", 0, empty), p.do(http.MethodPost, "/api/devices/nobody/ports/check", ""),
	} {
		if got := a.problem(t); got.Code != codeUnknownDevice {
			t.Errorf("%s of an unknown device: %+v", a.Request.Method, got)
		}
	}
	if got := p.do(http.MethodPost, "/api/devices/"+d.ID+"/ports/check", `{"x":1}`).problem(t); got.Code != codeUnknownField {
		t.Errorf("a check with a field: %+v", got)
	}
	if now := p.ports(d.ID); now.Revision != 0 || now.Overridden {
		t.Errorf("bad input changed something: %+v", now)
	}
}

// TestPortsOfALiveTunnel: what is shown is proven through the tunnel, and a change
// holds at once.
func TestPortsOfALiveTunnel(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	b, p := r.browser("ann", access.Operator), r.program("prog", access.Operator)
	b.connect(device, "t1")
	var proof proofAnswer
	p.do(http.MethodPost, "/api/devices/"+device+"/ports/check", "").into(t, &proof)
	if !proof.OK || !proof.Confirmed || proof.By != "dialer" || proof.Allowed == 0 || proof.Answering == 0 || proof.Refused == 0 || proof.Alarms == nil || proof.At.IsZero() {
		t.Errorf("%+v", proof)
	}
	if len(proof.Ports) != proof.Allowed || proof.Ports[0] != (probeAnswer{"47002/tcp", "answers"}) {
		t.Errorf("%+v", proof.Ports)
	}
	f := b.follow("tab=t1&view=device:" + device)
	b.post("/devices/"+device+"/ports/set", "revision=0&row=vnc", part("ports")...)
	p.do(http.MethodPost, "/api/devices/"+device+"/ports/check", "").into(t, &proof)
	if proof.Revision != 1 || !proof.OK {
		t.Errorf("after the change: %+v", proof)
	}
	a := p.ports(device)
	if a.Proof == nil || a.Proof.Revision != 1 {
		t.Errorf("%+v", a.Proof)
	}
	// The page says the same, as soon as no further proof is being made.
	line := fmt.Sprintf("%d allowed: %d answering; %d others refused; checked", proof.Allowed, proof.Answering, proof.Refused)
	for card := f.until(line); !strings.Contains(card, "confirmed that it enforces this list"); {
		card = f.until(line)
	}
	if got := b.post("/devices/"+device+"/ports/check", "", "HX-Request", "true", "HX-Target", "ports-check-form"); got.StatusCode != http.StatusNoContent {
		t.Errorf("Check now: %d %s", got.StatusCode, got.body)
	}
}
