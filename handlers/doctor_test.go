package handlers

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"borealis/agent/checkup"
	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"
)

// finding is the check of a name.
func (a doctorAnswer) finding(name string) checkup.Finding {
	i := slices.IndexFunc(a.Checks, func(f checkup.Finding) bool { return f.Name == name })
	if i < 0 {
		return checkup.Finding{}
	}
	return a.Checks[i]
}

// TestDoctorOfALiveTunnel: a program asks what is in the way of a device, and through a tunnel that
// is up learns what answers there.
func TestDoctorOfALiveTunnel(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	b, p := r.browser("ann", access.Operator), r.program("prog", access.Operator)
	var a doctorAnswer
	p.do(http.MethodPost, "/api/devices/"+device+"/doctor", "").into(t, &a)
	if !a.OK || a.DeviceID != device || a.finding("agent").Detail == "" || a.finding("port 47002/tcp").Name != "" {
		t.Errorf("without a tunnel: %+v", a)
	}
	b.connect(device, "tab")
	p.do(http.MethodPost, "/api/devices/"+device+"/doctor", "").into(t, &a)
	if f := a.finding("shell banner"); !f.OK || !strings.Contains(f.Detail, "SSH-2.0-") || f.Took <= 0 {
		t.Errorf("the shell's banner: %+v", f)
	}
	if f := a.finding("handshake"); !f.OK || f.Name == "" {
		t.Errorf("the handshake: %+v", f)
	}
	if p := r.program("looker", access.Viewer).do(http.MethodPost, "/api/devices/"+device+"/doctor", "").problem(t); p.Code != codeForbidden {
		t.Errorf("a viewer: %+v", p)
	}
	if p := r.program("outsider", access.Operator, "Paris").do(http.MethodPost, "/api/devices/"+device+"/doctor", "").problem(t); p.Code != codeUnknownDevice {
		t.Errorf("out of scope: %+v", p)
	}
}

// TestDoctorPanel: the panel is filled in with scripts and without, and looks by itself after an
// attempt that failed, until that is a while ago.
func TestDoctorPanel(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	path := "/devices/" + d.ID + "/doctor"
	b := r.browser("ann", access.Operator)
	part := b.post(path, "", "HX-Request", "true", "HX-Target", "doctor-findings")
	if part.StatusCode != http.StatusOK || strings.Contains(part.body, "<html") || !strings.Contains(part.body, `data-check="agent" data-ok="To mend"`) ||
		!strings.Contains(part.body, `<p id="doctor-said" hx-swap-oob="innerHTML">One thing is in the way: agent: device is offline`) {
		t.Errorf("the part: %d %s", part.StatusCode, part.body)
	}
	page := b.post(path, "")
	if page.StatusCode != http.StatusOK || !strings.Contains(page.body, "<html") || !strings.Contains(page.body, `data-check="agent" data-ok="To mend"`) || strings.Contains(page.body, "submit, load") {
		t.Errorf("the page: %d %.300s", page.StatusCode, page.body)
	}
	summary := func(c *client) string { return c.do(http.MethodGet, "/devices/"+d.ID+"/summary", "", html...).body }
	if body := summary(b); !strings.Contains(body, `id="doctor"`) || strings.Contains(body, "submit, load") || strings.Contains(body, "data-check=") {
		t.Error("the panel looks by itself, though nobody tried to connect")
	}
	attempt := func(ended time.Time) {
		t.Helper()
		id := "tunnel-" + ended.Format(time.RFC3339Nano)
		row := store.Tunnel{ID: id, DeviceID: d.ID, TokenID: id, State: "requested", RequestedAt: ended.Add(-time.Second)}
		if err := r.store.AddTunnel(t.Context(), row, ended, prepared); err != nil {
			t.Fatal(err)
		}
		if _, err := r.store.EndTunnel(t.Context(), id, string(tunnel.HandshakeTimeout), ended, 0, 0, nil, prepared); err != nil {
			t.Fatal(err)
		}
	}
	attempt(time.Now().Add(-time.Hour))
	if strings.Contains(summary(b), "submit, load") {
		t.Error("the panel looks by itself for an attempt of an hour ago")
	}
	attempt(time.Now())
	if !strings.Contains(summary(b), "submit, load") {
		t.Error("the panel does not look by itself after an attempt that failed")
	}
	looker := summary(r.browser("looker", access.Viewer))
	if strings.Contains(looker, "submit, load") || !strings.Contains(looker, `data-testid="doctor" data-about`) || !strings.Contains(looker, "hidden") {
		t.Error("a viewer, who may not ask, gets the panel")
	}
}

// TestTimelineAPIAndPage: both tell the steps of a device's tunnels and what else happened to it,
// newest first.
func TestTimelineAPIAndPage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	b := r.browser("ann", access.Operator)
	id := b.connect(device, "tab")
	if _, err := r.manager.Disconnect(t.Context(), device, tunnel.Holder{Operator: "ann"}, true); err != nil {
		t.Fatal(err)
	}
	r.recorded("tunnel_down")
	var a timelineAnswer
	r.program("prog", access.Viewer).do(http.MethodGet, "/api/devices/"+device+"/timeline", "").into(t, &a)
	var steps []string
	for i, m := range a.Moments {
		if i > 0 && m.At.After(a.Moments[i-1].At) {
			t.Errorf("not the newest first: %+v", m)
		}
		if m.Step == "" && (m.Kind == "" || m.Millis != nil) || m.Step != "" && (m.Kind != "" || m.TunnelID != id || (m.Millis == nil) != (m.Step == "requested")) {
			t.Errorf("a moment is %+v", m)
		}
		if m.Step != "" {
			steps = append(steps, m.Step)
		}
	}
	if got := strings.Join(steps, " "); got != "ended closing up peered ready offered requested" {
		t.Errorf("the steps are %s", got)
	}
	if first := a.Moments[0]; first.Reason == "" {
		t.Errorf("the end has no reason: %+v", first)
	}
	page := b.do(http.MethodGet, "/devices/"+device+"/timeline", "", html...).body
	for _, want := range []string{`data-testid="timeline-tunnel"`, "Tunnel ended: an operator stopped it for everyone", "for ann", "Agent ready", "came online", `aria-current="page"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if p := r.program("outsider", access.Viewer, "Paris").do(http.MethodGet, "/api/devices/"+device+"/timeline", "").problem(t); p.Code != codeUnknownDevice {
		t.Errorf("out of scope: %+v", p)
	}
}
