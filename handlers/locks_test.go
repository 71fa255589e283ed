package handlers

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"borealis/handlers/access"
	"borealis/store"
)

// TestLocksEndShells: what is locked in the console ends the shells through it, and is
// refused until it is unlocked; the page says so.
func TestLocksEndShells(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, lock, unlock, fields, part, says string }{
		{"device", "/devices/ID/lock", "/devices/ID/unlock", "reason=stolen+laptop", "device-head", "This device is locked."},
		{"site", "/sites/lock", "/sites/unlock", "site=Oslo&reason=stolen+laptop", "sites", "The site Oslo is locked."},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			device := r.realAgent("Oslo")
			bob, admin := r.browser("bob", access.Operator), r.browser("ann", access.Admin)
			at := func(path string) string { return strings.ReplaceAll(path, "ID", device) }
			screen := bob.shell(device, "bob")
			page := admin.do(http.MethodGet, "/devices/"+device+"/summary", "", html...).body + admin.do(http.MethodGet, "/enrolment", "", html...).body
			if n := strings.Count(page, "1 operator is connected. "); n < 2 {
				t.Errorf("the question before locking says %d times who is connected", n)
			}
			if a := admin.post(at(c.lock), c.fields, part(c.part)...); a.StatusCode != http.StatusOK || !strings.Contains(a.body, "stolen laptop") {
				t.Errorf("lock: %d %s", a.StatusCode, a.body)
			}
			if said, _ := screen.ends(); said != "device_locked" {
				t.Errorf("the shell ends with %q", said)
			}
			if f := bob.do(http.MethodPost, "/devices/"+device+"/tunnel/connect", "", "HX-Request", "true").problem(t); f.Status != http.StatusConflict || f.Code != codeDeviceLocked || !strings.Contains(f.Detail, "stolen laptop") {
				t.Errorf("connecting: %+v", f)
			}
			page = bob.do(http.MethodGet, "/devices/"+device+"/summary", "", html...).body
			if !strings.Contains(page, c.says) || !strings.Contains(page, "locked-pill") || strings.Contains(page, "unlock-button") {
				t.Error("an operator's page does not say that it is locked, or offers to unlock")
			}
			if rows := bob.do(http.MethodGet, "/devices", "", html...).body; !strings.Contains(rows, "Locked") {
				t.Error("the list does not say that it is locked")
			}
			if f := admin.post(at(c.lock), c.fields, part(c.part)...).problem(t); f.Status != http.StatusConflict || f.Code != codeLockedAlready {
				t.Errorf("locked twice: %+v", f)
			}
			if a := admin.post(at(c.unlock), c.fields, part(c.part)...); a.StatusCode != http.StatusOK || strings.Contains(a.body, "stolen laptop") {
				t.Errorf("unlock: %d %s", a.StatusCode, a.body)
			}
			if f := admin.post(at(c.unlock), c.fields, part(c.part)...).problem(t); f.Status != http.StatusConflict || f.Code != codeNotLocked {
				t.Errorf("unlocked twice: %+v", f)
			}
			bob.shell(device, "bob")
		})
	}
}

// TestOperatorLock: an operator who is locked is thrown out and cannot sign in, until
// somebody unlocks.
func TestOperatorLock(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	admin, jon := r.browser("ann", access.Admin), r.browser("jon", access.Operator)
	o, err := r.store.OperatorByName(t.Context(), "jon")
	if err != nil {
		t.Fatal(err)
	}
	feed := jon.follow("tab=t&view=devices")
	at := "/operators/" + o.ID
	a := admin.post(at+"/lock", "reason=on+leave&for=8h", part("operator")...)
	if a.StatusCode != http.StatusOK || !strings.Contains(a.body, "jon is locked.") || !strings.Contains(a.body, "on leave") || !strings.Contains(a.body, "operator-unlock") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	feed.end()
	if f := jon.do(http.MethodGet, "/api/devices", "").problem(t); f.Code != codeOperatorLocked || !strings.Contains(f.Detail, "on leave") {
		t.Errorf("%+v", f)
	}
	if page := admin.do(http.MethodGet, "/operators", "", html...).body; !strings.Contains(page, "Locked") {
		t.Error("the list does not say who is locked")
	}
	locks, err := r.store.Locks(t.Context(), time.Now())
	if err != nil || len(locks) != 1 || locks[0].By != "ann" || locks[0].Until.Sub(locks[0].At) < 8*time.Hour-time.Minute {
		t.Errorf("%+v %v", locks, err)
	}
	if a := admin.post(at+"/unlock", "", part("operator")...); a.StatusCode != http.StatusOK || strings.Contains(a.body, "is locked") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	jon.do(http.MethodGet, "/api/devices", "").into(t, new(devicesAnswer))
}

func TestLocksAPI(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.program("ann", access.Admin)
	d, _ := r.device("pc", store.Active, "Oslo")
	o := r.operatorWith("jon", access.Viewer)
	if a := p.do(http.MethodGet, "/api/locks", ""); strings.TrimSpace(a.body) != `{"locks":[]}` {
		t.Errorf("no locks are %s", a.body)
	}
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for _, want := range []lockAnswer{
		{Kind: store.LockDevice, Target: d.ID, Name: "pc", Until: &until},
		{Kind: store.LockSite, Target: "Oslo", Name: "Oslo"},
		{Kind: store.LockOperator, Target: o.ID, Name: "jon"},
	} {
		body := `{"kind":"` + want.Kind + `","target":"` + want.Target + `","reason":"because"`
		if want.Until != nil {
			body += `,"until":"` + want.Until.Format(time.RFC3339) + `"`
		}
		var got lockAnswer
		p.do(http.MethodPost, "/api/locks", body+"}").into(t, &got)
		if got.Kind != want.Kind || got.Target != want.Target || got.Name != want.Name || got.Reason != "because" || got.By != "ann" || got.At == nil ||
			(got.Until == nil) != (want.Until == nil) || got.Until != nil && !got.Until.Equal(until) {
			t.Errorf("%+v", got)
		}
	}
	var all locksAnswer
	p.do(http.MethodGet, "/api/locks", "").into(t, &all)
	if len(all.Locks) != 3 {
		t.Errorf("%+v", all)
	}
	var one operatorDetail
	if p.do(http.MethodGet, "/api/operators/"+o.ID, "").into(t, &one); one.Lock == nil || one.Lock.Reason != "because" {
		t.Errorf("%+v", one)
	}
	for _, c := range []struct {
		body  string
		code  code
		field string
	}{
		{`{"kind":"device","target":"` + d.ID + `","reason":"x"}`, codeLockedAlready, ""},
		{`{"kind":"device","target":"x","reason":"x"}`, codeUnknownDevice, ""},
		{`{"kind":"operator","target":"x","reason":"x"}`, codeUnknownOperator, ""},
		{`{"kind":"site","target":"Paris","reason":"x"}`, codeNotFound, ""},
		{`{"kind":"site","target":"","reason":"x"}`, codeInvalid, "target"},
		{`{"kind":"engine","target":"x","reason":"x"}`, codeInvalid, "kind"},
		{`{"kind":"device","target":"` + d.ID + `"}`, codeInvalid, "reason"},
		{`{"kind":"device","target":"` + d.ID + `","reason":"a\u001bb"}`, codeInvalid, "reason"},
		{`{"kind":"device","target":"` + d.ID + `","reason":"` + strings.Repeat("x", maxReason+1) + `"}`, codeInvalid, "reason"},
		{`{"kind":"device","target":"` + d.ID + `","reason":"x","until":"2020-01-01T00:00:00Z"}`, codeInvalid, "until"},
		{`{"kind":"device","target":"` + d.ID + `","reason":"x","until":"9999-01-01T00:00:00Z"}`, codeInvalid, "until"},
		{`{"kind":"device","target":"` + d.ID + `","reason":"x","by":"eve"}`, codeUnknownField, "by"},
	} {
		if f := p.do(http.MethodPost, "/api/locks", c.body).problem(t); f.Code != c.code || f.Field != c.field {
			t.Errorf("%s: %+v", c.body, f)
		}
	}
	var gone unlockAnswer
	p.do(http.MethodDelete, "/api/locks", `{"kind":"device","target":"`+d.ID+`"}`).into(t, &gone)
	p.do(http.MethodDelete, "/api/locks?"+url.Values{"kind": {"site"}, "target": {"Oslo"}}.Encode(), "").into(t, &gone)
	if gone.Kind != store.LockSite || gone.Target != "Oslo" {
		t.Errorf("%+v", gone)
	}
	if f := p.do(http.MethodDelete, "/api/locks", `{"kind":"site","target":"Oslo"}`).problem(t); f.Code != codeNotLocked {
		t.Errorf("%+v", f)
	}
	p.do(http.MethodGet, "/api/locks", "").into(t, &all)
	if len(all.Locks) != 1 || all.Locks[0].Kind != store.LockOperator {
		t.Errorf("%+v", all)
	}
	if kinds := strings.Join(r.kinds(), " "); !strings.Contains(kinds, "locked locked locked unlocked unlocked") {
		t.Errorf("on record: %s", kinds)
	}
}

// TestLockRights: only administrators lock, and the form of a lock that is not good does
// not lock.
func TestLockRights(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active, "Oslo")
	for role, c := range map[string]*client{
		access.Viewer: r.program("vic", access.Viewer), access.Operator: r.program("bob", access.Operator), access.Auditor: r.program("eve", access.Auditor),
	} {
		for _, q := range []struct{ method, body string }{
			{http.MethodGet, ""},
			{http.MethodPost, `{"kind":"device","target":"` + d.ID + `","reason":"x"}`},
			{http.MethodPost, `{"kind":"site","target":"Oslo","reason":"x"}`},
			{http.MethodDelete, `{"kind":"device","target":"` + d.ID + `"}`},
		} {
			if f := c.do(q.method, "/api/locks", q.body).problem(t); f.Code != codeForbidden {
				t.Errorf("%s: %s %s: %+v", role, q.method, q.body, f)
			}
		}
	}
	admin := r.browser("ann", access.Admin)
	if f := admin.post("/devices/"+d.ID+"/lock", "reason=", part("device-head")...).problem(t); f.Status != http.StatusBadRequest || f.Code != codeRefusedForm || !strings.Contains(f.Detail, "Say why") {
		t.Errorf("%+v", f)
	}
	if a := admin.post("/sites/lock", "site=Oslo&reason=", part("sites")...); a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, "Say why") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if locks, err := r.store.Locks(t.Context(), time.Now()); err != nil || len(locks) != 0 {
		t.Errorf("%+v %v", locks, err)
	}
}
