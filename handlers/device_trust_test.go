package handlers

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel/keys"
)

// machine is a device of a machine that was enrolled and approved.
func (r *rig) machine(hostname, machine string) (store.Device, *keys.Identity) {
	r.t.Helper()
	agent, id := r.newcomer()
	deviceID := agent.enrol(r.enrolCode(store.Code{AutoApprove: true, Site: "Oslo"}), hostname, machine)
	d, err := r.store.Device(r.t.Context(), deviceID)
	if err != nil || d.State != store.Active {
		r.t.Fatalf("%+v %v", d, err)
	}
	return d, id
}

func (r *rig) state(id string) string {
	r.t.Helper()
	d, err := r.store.Device(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return d.State
}

// TestConflictIsNeverSilent: a machine that is known with another key waits even when
// its code approves by itself, and nobody approves it without saying what becomes of the
// device that is known.
func TestConflictIsNeverSilent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ decision, old string }{{"replace", store.Revoked}, {"keep_both", store.Active}} {
		r := newRig(t)
		old, id := r.machine("OLD-NAME", "the-machine")
		conn := r.joinAgent(id) // as a machine of another name
		if err := r.store.UpdateDevice(t.Context(), old.ID, store.DeviceFacts{Hostname: "OLD-NAME", Seen: time.Now()}); err != nil {
			t.Fatal(err)
		}
		fresh, _ := r.enrol(r.enrolCode(store.Code{AutoApprove: true, Site: "Oslo"}), "NEW-NAME", "the-machine")
		if r.state(fresh) != store.Pending || r.state(old.ID) != store.Active {
			t.Fatalf("%s: the new one is %s, the known one %s", c.decision, r.state(fresh), r.state(old.ID))
		}
		b, p := r.browser("ann", access.Admin), r.program("prog", access.Admin)
		for _, path := range []string{"/enrolment", "/devices/" + fresh + "/summary"} {
			page := b.do(http.MethodGet, path, "", html...).body
			for _, want := range []string{"This machine is known as", "OLD-NAME", "/devices/" + old.ID + "/summary", "replace-button", "keep-both-button", "deny-button"} {
				if !strings.Contains(page, want) {
					t.Errorf("%s: %s does not have %q", c.decision, path, want)
				}
			}
			if strings.Contains(page, `data-testid="approve-button"`) {
				t.Errorf("%s: %s offers to approve without a decision", c.decision, path)
			}
		}
		for _, body := range []string{"", "{}", `{"decision":""}`} {
			f := p.do(http.MethodPost, "/api/devices/"+fresh+"/approve", body).problem(t)
			if f.Status != http.StatusConflict || f.Code != codeReplaces || !strings.Contains(f.Question, "OLD-NAME") || f.Confirm == "" {
				t.Errorf("%s: approving with %q: %+v", c.decision, body, f)
			}
		}
		if f := b.post("/devices/"+fresh+"/approve", "", part("pending")...).problem(t); f.Code != codeReplaces {
			t.Errorf("%s: %+v", c.decision, f)
		}
		if f := p.do(http.MethodPost, "/api/devices/"+fresh+"/approve", `{"decision":"both"}`).problem(t); f.Code != codeInvalid || f.Field != "decision" {
			t.Errorf("%s: %+v", c.decision, f)
		}
		if r.state(fresh) != store.Pending {
			t.Fatalf("%s: refused, and yet %s", c.decision, r.state(fresh))
		}
		var after deviceDetail
		p.do(http.MethodPost, "/api/devices/"+fresh+"/approve", `{"decision":"`+c.decision+`"}`).into(t, &after)
		if after.State != store.Active || r.state(old.ID) != c.old {
			t.Errorf("%s: the new one is %s, the known one %s", c.decision, after.State, r.state(old.ID))
		}
		if c.old == store.Revoked {
			r.closed(conn)
			if _, err := r.dialAgent(id, wire.Subprotocol); err == nil {
				t.Error("the device that was replaced comes back")
			}
			continue
		}
		if _, online := r.manager.Online(old.ID); !online {
			t.Error("a device that was kept is cut off")
		}
		p.do(http.MethodPost, "/api/devices/"+fresh+"/approve", `{"decision":"replace"}`).into(t, &after) // decided before: changes nothing
		if _, online := r.manager.Online(old.ID); !online || r.state(old.ID) != store.Active {
			t.Error("a decision that comes too late cuts a device off")
		}
		p.do(http.MethodPost, "/api/devices/"+fresh+"/quarantine", "").into(t, &after)
		if f := p.do(http.MethodPost, "/api/devices/"+fresh+"/approve", "").problem(t); f.Code != codeReplaces {
			t.Errorf("a device that was set aside comes back without a decision: %+v", f)
		}
		if page := b.do(http.MethodGet, "/devices/"+fresh+"/summary", "", html...).body; !strings.Contains(page, "keep-both-button") {
			t.Error("its page offers no decision")
		}
	}
}

// TestReplaceFromThePage: the button on the queue says what becomes of the other one.
func TestReplaceFromThePage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	old, _ := r.machine("OLD", "m")
	fresh, _ := r.enrol(r.enrolCode(store.Code{}), "NEW", "m")
	b := r.browser("ann", access.Admin)
	if a := b.post("/devices/"+fresh+"/approve", "decision=replace", part("pending")...); a.StatusCode != http.StatusOK || strings.Contains(a.body, "NEW") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if r.state(fresh) != store.Active || r.state(old.ID) != store.Revoked {
		t.Errorf("%s %s", r.state(fresh), r.state(old.ID))
	}
	lines, err := r.store.Records(t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, DeviceID: old.ID, Kind: "device_revoked"})
	if err != nil || len(lines) != 1 || lines[0].Actor != "ann" || lines[0].Reason != "replaced" || lines[0].Source == "" {
		t.Errorf("%+v %v", lines, err)
	}
}

// TestDeny: a device that is denied is gone and cut off; its key may come again.
func TestDeny(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	agent, id := r.newcomer()
	first := agent.enrol(r.enrolCode(store.Code{}), "PC-1", "m")
	conn := r.joinAgent(id)
	p := r.program("ann", access.Admin)
	var denied denyAnswer
	p.do(http.MethodPost, "/api/devices/"+first+"/deny", "").into(t, &denied)
	if denied.Denied != first {
		t.Errorf("%+v", denied)
	}
	r.closed(conn)
	if f := p.do(http.MethodPost, "/api/devices/"+first+"/deny", "").problem(t); f.Code != codeUnknownDevice {
		t.Errorf("denied twice: %+v", f)
	}
	second := agent.enrol(r.enrolCode(store.Code{}), "PC-1", "m")
	if r.state(second) != store.Pending {
		t.Errorf("it came again as %s", r.state(second))
	}
	p.do(http.MethodPost, "/api/devices/"+second+"/approve", "").into(t, new(deviceDetail))
	if f := p.do(http.MethodPost, "/api/devices/"+second+"/deny", "").problem(t); f.Status != http.StatusConflict || f.Code != codeDeviceState {
		t.Errorf("denying one that is approved: %+v", f)
	}
	if r.state(second) != store.Active {
		t.Error("it is not active any more")
	}
	if kinds := strings.Join(r.kinds(), " "); !strings.Contains(kinds, "device_denied") {
		t.Errorf("on record: %s", kinds)
	}
}

// TestApproveTellsTheAgent: an agent that waits is told at once that it does not wait.
func TestApproveTellsTheAgent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device("pc", store.Pending)
	conn := r.joinAgent(id)
	r.program("ann", access.Admin).do(http.MethodPost, "/api/devices/"+d.ID+"/approve", "").into(t, new(deviceDetail))
	if msg := r.hear(conn); msg.State == nil || msg.State.State != store.Active {
		t.Errorf("the agent hears %+v", msg)
	}
}

// TestQuarantineAndRevoke: a quarantined device is cut off until it is approved again,
// and a revoked one for ever.
func TestQuarantineAndRevoke(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device("pc", store.Active)
	b, p := r.browser("ann", access.Admin), r.program("prog", access.Admin)
	at := "/api/devices/" + d.ID + "/"
	conn := r.joinAgent(id)
	var after deviceDetail
	p.do(http.MethodPost, at+"quarantine", `{"reason":"odd <b>traffic</b>"}`).into(t, &after)
	r.closed(conn)
	if after.State != store.Quarantined {
		t.Errorf("%s", after.State)
	}
	page := b.do(http.MethodGet, "/devices/"+d.ID+"/summary", "", html...).body
	if !strings.Contains(page, "Set aside by prog: odd &lt;b&gt;traffic&lt;/b&gt;.") || !strings.Contains(page, "revoke-button") {
		t.Errorf("the page does not say why: %s", page)
	}
	if f := p.do(http.MethodPost, at+"quarantine", `{"reason":"`+strings.Repeat("x", maxReason+1)+`"}`).problem(t); f.Code != codeInvalid || f.Field != "reason" {
		t.Errorf("%+v", f)
	}
	p.do(http.MethodPost, at+"approve", "").into(t, &after)
	conn = r.joinAgent(id)
	p.do(http.MethodPost, at+"revoke", "").into(t, &after)
	r.closed(conn)
	if after.State != store.Revoked {
		t.Errorf("%s", after.State)
	}
	for _, what := range []string{"approve", "quarantine", "deny"} {
		if f := p.do(http.MethodPost, at+what, "").problem(t); f.Status != http.StatusConflict || f.Code != codeDeviceState {
			t.Errorf("%s a revoked device: %+v", what, f)
		}
	}
	if a := b.post("/devices/"+d.ID+"/approve", "", part("device-head")...); a.problem(t).Code != codeDeviceState {
		t.Errorf("%s", a.body)
	}
	page = b.do(http.MethodGet, "/devices/"+d.ID+"/summary", "", html...).body
	for _, not := range []string{"approve-button", "connect-button", "with a new code"} {
		if strings.Contains(page, not) {
			t.Errorf("a revoked device's page has %s", not)
		}
	}
	enrolling := r.dialer(wire.EnrolServerName, id.TLS())
	if f := enrolling.do(http.MethodPost, wire.PathEnrol, enrolBody(t, r.enrolCode(store.Code{}), "pc")).problem(t); f.Code != codeRevoked || !strings.Contains(f.Detail, "new key") {
		t.Errorf("%+v", f)
	}
}

// TestQuarantineButtons: the same from the device's page.
func TestQuarantineButtons(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	b := r.browser("ann", access.Admin)
	for _, step := range []struct{ do, state string }{
		{"quarantine", store.Quarantined}, {"approve", store.Active}, {"revoke", store.Revoked},
	} {
		if a := b.post("/devices/"+d.ID+"/"+step.do, "", part("device-head")...); a.StatusCode != http.StatusOK || !strings.Contains(a.body, `id="device-head"`) || r.state(d.ID) != step.state {
			t.Errorf("%s: %d %s", step.do, a.StatusCode, r.state(d.ID))
		}
	}
}

// TestClonesAreNamed: what the engine found out about an identity is what the page says.
func TestClonesAreNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	if err := r.store.SetDeviceState(t.Context(), d.ID, store.Quarantined, time.Now(), store.Record{Reason: "cloned"}); err != nil {
		t.Fatal(err)
	}
	page := r.browser("vic", access.Viewer).do(http.MethodGet, "/devices/"+d.ID+"/summary", "", html...).body
	if !strings.Contains(page, "Set aside by the engine: two machines used its identity at the same time.") || strings.Contains(page, "approve-button") {
		t.Errorf("%s", page)
	}
}

// TestTrustOutOfScope: who is held to other sites cannot decide about a device, whatever
// the role, and learns nothing of it.
func TestTrustOutOfScope(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id, _ := r.enrol(r.enrolCode(store.Code{Site: "Oslo"}), "PC-1", "m")
	for name, c := range map[string]*client{
		"viewer": r.browser("vic", access.Viewer, "Oslo"), "operator": r.browser("bob", access.Operator, "Oslo"),
		"auditor": r.browser("eve", access.Auditor), "outsider": r.browser("out", access.Operator, "Bergen"),
	} {
		for _, what := range []string{"approve", "deny", "quarantine", "revoke", "lock", "unlock"} {
			if a := c.post("/devices/"+id+"/"+what, "", part("pending")...); a.problem(t).Code != codeForbidden {
				t.Errorf("%s: %s: %s", name, what, a.body)
			}
		}
	}
	if r.state(id) != store.Pending {
		t.Error(r.state(id))
	}
}
