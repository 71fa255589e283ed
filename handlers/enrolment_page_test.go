package handlers

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel/keys"
)

// enrol enrols a new machine through the engine, as an agent does.
func (r *rig) enrol(secret, hostname, machine string) (deviceID string, agent *client) {
	r.t.Helper()
	agent, _ = r.newcomer()
	return agent.enrol(secret, hostname, machine), agent
}

// enrol enrols with the key that the client has.
func (c *client) enrol(secret, hostname, machine string) (deviceID string) {
	c.rig.t.Helper()
	body, err := wire.EnrolRequest{Secret: secret, Hostname: hostname, OS: "linux", Arch: "amd64", Version: "1", Machine: machine}.Encode()
	if err != nil {
		c.rig.t.Fatal(err)
	}
	a := c.do(http.MethodPost, wire.PathEnrol, string(body))
	got, err := wire.DecodeEnrolResponse([]byte(a.body))
	if err != nil || a.StatusCode != http.StatusOK {
		c.rig.t.Fatalf("enrol %s: %d %s: %v", hostname, a.StatusCode, a.body, err)
	}
	return got.DeviceID
}

func TestEnrolmentForm(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.browser("ann", access.Admin)
	a := b.post("/enrolment/codes", "uses=2&ttl=24h&site=Oslo", part("enrolment")...)
	text := ""
	if _, rest, found := strings.Cut(a.body, `data-testid="code-string">`); found {
		text, _, _ = strings.Cut(rest, "<")
	}
	if _, err := wire.ParseCode(text); a.StatusCode != http.StatusOK || err != nil {
		t.Fatalf("%d %q %v", a.StatusCode, text, err)
	}
	codes, err := r.store.Codes(t.Context())
	if err != nil || len(codes) != 1 {
		t.Fatal(codes, err)
	}
	c := codes[0]
	if c.Uses != 2 || c.Site != "Oslo" || c.AutoApprove || time.Until(c.ExpiresAt) < 23*time.Hour {
		t.Errorf("%+v", c)
	}
	if page := b.do(http.MethodGet, "/enrolment", "", html...); strings.Contains(page.body, text) || !strings.Contains(page.body, "Oslo") {
		t.Error("the list shows the code's text, or not the code")
	}
	for fields, says := range map[string]string{
		"uses=0&ttl=1h":                    "1 to 10000",
		"uses=many&ttl=1h":                 "not a number",
		"uses=1&ttl=forever":               "not a time",
		"uses=1&ttl=1000h":                 "7 days",
		"uses=1&ttl=-1h":                   "one minute",
		"uses=1&ttl=24h&auto_approve=on":   "one hour at most",
		"uses=101&ttl=1h&auto_approve=on":  "100 machines at most",
		"action=create&uses=&ttl=1h&x=1":   "not a number",
		"uses=1&ttl=1h1s&auto_approve=yes": "one hour at most",
		"":                                 "not a number",
	} {
		a := b.post("/enrolment/codes", fields, part("enrolment")...)
		if a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, `id="enrolment"`) || !strings.Contains(a.body, says) {
			t.Errorf("%q: %d %.300s", fields, a.StatusCode, a.body)
		}
	}
	if codes, _ = r.store.Codes(t.Context()); len(codes) != 1 {
		t.Errorf("refused forms made codes: %+v", codes)
	}
	for range 2 { // the second finds it gone
		if a := b.post("/enrolment/codes/"+c.ID+"/remove", "", part("enrolment")...); a.StatusCode != http.StatusOK {
			t.Errorf("remove: %d %s", a.StatusCode, a.body)
		}
	}
	if codes, _ = r.store.Codes(t.Context()); len(codes) != 0 {
		t.Errorf("%+v", codes)
	}
	if kinds := strings.Join(r.kinds(), " "); !strings.HasSuffix(kinds, "code_created code_removed") {
		t.Errorf("on record: %s", kinds)
	}
}

// TestAutoApproveAtItsLimits: one hour and 100 machines are just allowed.
func TestAutoApproveAtItsLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.browser("ann", access.Admin)
	if a := b.post("/enrolment/codes", "uses=100&ttl=1h&auto_approve=on", part("enrolment")...); a.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	codes, err := r.store.Codes(t.Context())
	if err != nil || len(codes) != 1 || !codes[0].AutoApprove {
		t.Errorf("%+v %v", codes, err)
	}
}

// TestQueue: whoever waits is shown with the words of the key, to those in whose scope
// the device is, and goes with the decision.
func TestQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	oslo, bergen := r.enrolCode(store.Code{Site: "Oslo", Uses: 2}), r.enrolCode(store.Code{Site: "Bergen"})
	one, _ := r.enrol(oslo, "OSLO-1", "m1")
	two, _ := r.enrol(oslo, "OSLO-2", "m2")
	three, _ := r.enrol(bergen, "BERGEN-1", "m3")
	d, err := r.store.Device(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	admin, viewer := r.browser("ann", access.Admin), r.browser("vic", access.Viewer, "Bergen")
	page := admin.do(http.MethodGet, "/enrolment", "", html...).body
	for _, want := range []string{"OSLO-1", "OSLO-2", "BERGEN-1", wordsOf(d), `data-waiting="3"`, `data-testid="approve-button"`, " waiting for approval</span>"} {
		if !strings.Contains(page, want) {
			t.Errorf("an administrator does not see %q", want)
		}
	}
	if n := len(strings.Fields(wordsOf(d))); n != 6 {
		t.Errorf("%d words: %q", n, wordsOf(d))
	}
	page = viewer.do(http.MethodGet, "/enrolment", "", html...).body
	if strings.Contains(page, "OSLO") || strings.Contains(page, "Oslo") || !strings.Contains(page, "BERGEN-1") || !strings.Contains(page, `data-waiting="1"`) {
		t.Errorf("somebody who is held to Bergen sees another site: %s", page)
	}
	for _, not := range []string{"approve-button", "code-form", "wrong-codes", "site-lock"} {
		if strings.Contains(page, not) {
			t.Errorf("a viewer is offered %s", not)
		}
	}

	a := admin.post("/devices/"+one+"/approve", "", part("pending")...)
	if a.StatusCode != http.StatusOK || !strings.Contains(a.body, `id="pending"`) || strings.Contains(a.body, "OSLO-1") || !strings.Contains(a.body, "OSLO-2") {
		t.Errorf("approve: %d %s", a.StatusCode, a.body)
	}
	a = admin.post("/devices/"+two+"/deny", "", part("pending")...)
	if a.StatusCode != http.StatusOK || strings.Contains(a.body, "OSLO-2") || !strings.Contains(a.body, "BERGEN-1") {
		t.Errorf("deny: %d %s", a.StatusCode, a.body)
	}
	a = admin.post("/devices/"+three+"/deny", "", part("device-head")...)
	if a.StatusCode != http.StatusOK || a.Header.Get("HX-Redirect") != "/enrolment" {
		t.Errorf("denied on its own page: %d %v", a.StatusCode, a.Header)
	}
	if got, err := r.store.Device(t.Context(), one); err != nil || got.State != store.Active {
		t.Errorf("%+v %v", got, err)
	}
	if _, total, err := r.store.Devices(t.Context(), store.DeviceQuery{Scope: store.Scope{All: true}}); err != nil || total != 1 {
		t.Errorf("%d devices are left: %v", total, err)
	}
}

// TestQueueIsLive: who comes to wait appears on an open page.
func TestQueueIsLive(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.browser("ann", access.Admin)
	f := b.follow("tab=t&view=enrolment")
	f.until(`data-waiting="0"`)
	id, _ := r.enrol(r.enrolCode(store.Code{}), "PC-1", "m1")
	if html := f.until(`data-waiting="1"`); !strings.Contains(html, "PC-1") || !strings.Contains(html, `id="pending"`) {
		t.Errorf("%s", html)
	}
	if a := b.post("/devices/"+id+"/deny", "", part("pending")...); a.StatusCode != http.StatusOK {
		t.Fatal(a.body)
	}
	f.until(`data-waiting="0"`)
}

// TestHostileNewcomer: what a machine says about itself, and what people call sites, is
// text wherever it is shown.
func TestHostileNewcomer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	secret := r.enrolCode(store.Code{Site: "Oslo" + evil, Uses: 3})
	agent, _ := r.newcomer()
	body, err := wire.EnrolRequest{Secret: secret, Hostname: evil, OS: evil, OSVersion: evil, Arch: evil, Version: evil, Machine: "m"}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var first wire.EnrolResponse
	if a := agent.do(http.MethodPost, wire.PathEnrol, string(body)); a.StatusCode != http.StatusOK {
		t.Fatal(a.body)
	} else if first, err = wire.DecodeEnrolResponse([]byte(a.body)); err != nil {
		t.Fatal(err)
	}
	second, _ := r.enrol(secret, evil, "m")
	b := r.browser("ann", access.Admin)
	if a := b.post("/devices/"+first.DeviceID+"/approve", ""); a.StatusCode != http.StatusSeeOther {
		t.Fatal(a.body)
	}
	if a := b.post("/devices/"+first.DeviceID+"/lock", "reason="+"%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E"); a.StatusCode != http.StatusSeeOther {
		t.Fatal(a.body)
	}
	if a := b.post("/sites/lock", "site=Oslo"+"%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&reason=%3Cimg%20src=x%3E"); a.StatusCode != http.StatusSeeOther {
		t.Fatal(a.body)
	}
	for _, path := range []string{
		"/enrolment", "/devices", "/devices/" + first.DeviceID + "/summary", "/devices/" + second + "/summary", "/operators", "/activity",
	} {
		a := b.do(http.MethodGet, path, "", html...)
		if a.StatusCode != http.StatusOK || !strings.Contains(a.body, "alert(1)") && path != "/operators" {
			t.Errorf("%s: %d does not show the text", path, a.StatusCode)
		}
		if strings.Contains(a.body, "<script>") || strings.Contains(a.body, "<img") {
			t.Errorf("%s: a text is markup", path)
		}
	}
}

// TestPendingExpires: who is not decided about within a day is turned away, and cut off.
func TestPendingExpires(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	waits, id := r.device("waits", store.Pending)
	trusted, _ := r.device("trusted", store.Active)
	conn := r.joinAgent(id)
	if err := r.expirePending(t.Context(), waits.CreatedAt.Add(pendingLife)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.Device(t.Context(), waits.ID); err != nil {
		t.Errorf("it went too early: %v", err)
	}
	if err := r.expirePending(t.Context(), waits.CreatedAt.Add(pendingLife+time.Second)); err != nil {
		t.Fatal(err)
	}
	r.closed(conn)
	if _, err := r.store.Device(t.Context(), waits.ID); err == nil {
		t.Error("it still waits")
	}
	if _, err := r.store.Device(t.Context(), trusted.ID); err != nil {
		t.Errorf("one that does not wait is gone: %v", err)
	}
	if _, err := r.dialAgent(id, wire.Subprotocol); err == nil {
		t.Error("its key is still taken")
	}
	if kinds := strings.Join(r.kinds(), " "); !strings.Contains(kinds, "device_expired") {
		t.Errorf("on record: %s", kinds)
	}
}

// TestWrongCodesAreCounted: each refused code is on record and on the page, with where
// it came from and why, and nothing of the code itself.
func TestWrongCodesAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.browser("ann", access.Admin)
	if page := b.do(http.MethodGet, "/enrolment", "", html...).body; !strings.Contains(page, "none in the last 24 hours") {
		t.Error("wrong codes before there were any")
	}
	used := r.enrolCode(store.Code{})
	r.enrol(used, "first", "m")
	expired := r.enrolCode(store.Code{ExpiresAt: time.Now().Add(-time.Second)})
	unknown := wire.NewSecret()
	for _, secret := range []string{unknown, used, expired} {
		agent, _ := r.newcomer()
		if a := agent.do(http.MethodPost, wire.PathEnrol, enrolBody(t, secret, "x")); a.StatusCode == http.StatusOK {
			t.Fatalf("a wrong code enrols: %s", a.body)
		}
		r.enrolments.forgive("127.0.0.1")
	}
	agent, _ := r.newcomer()
	if a := agent.do(http.MethodPost, wire.PathEnrol, enrolBody(t, "a'; DROP TABLE code; --", "x")); a.problem(t).Code != codeInvalid {
		t.Error("the characters of a code are not looked at")
	}
	lines, err := r.store.Records(t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, Kind: enrolmentRefused})
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, line := range lines {
		reasons = append(reasons, line.Reason)
		if line.Source != "127.0.0.1" || line.Result != store.Refused || strings.Contains(line.Detail, unknown) {
			t.Errorf("%+v", line)
		}
	}
	if got := strings.Join(reasons, " "); got != "code_expired code_used code_unknown" {
		t.Errorf("on record: %s", got)
	}
	page := b.do(http.MethodGet, "/enrolment", "", html...).body
	if !strings.Contains(page, "3 in the last 24 hours, from 1 source") || strings.Contains(page, "Many wrong codes") {
		t.Error("three wrong codes are not three")
	}
	for range manyRefusals {
		r.recordRefusal(t.Context(), store.Record{Kind: enrolmentRefused, Source: "203.0.113.9", Reason: "code_unknown"})
	}
	page = b.do(http.MethodGet, "/enrolment", "", html...).body
	if !strings.Contains(page, "from 2 sources") || !strings.Contains(page, "Many wrong codes") || !strings.Contains(page, "203.0.113.9") {
		t.Error("many wrong codes are no warning")
	}
	for !r.wrongCodes.spent() {
		r.wrongCodes.spend()
	}
	if page := b.do(http.MethodGet, "/enrolment", "", html...).body; !strings.Contains(page, "Enrolment rests") {
		t.Error("the page does not say that enrolment rests")
	}
}

// TestPendingExpiresByItself: an engine that starts turns away who waited too long
// meanwhile.
func TestPendingExpiresByItself(t *testing.T) {
	t.Parallel()
	var late store.Device
	r := newRigWith(t, func(c *Config) {
		then := time.Now().Add(-pendingLife - time.Hour)
		hash := HashSecret(wire.NewSecret())
		_, err := c.Store.AddCode(t.Context(), hash, store.Code{CreatedAt: then, ExpiresAt: then.Add(time.Hour)}, store.Record{})
		if err == nil {
			id, idErr := keys.NewIdentity("late")
			if idErr != nil {
				t.Fatal(idErr)
			}
			late, err = c.Store.RedeemCode(t.Context(), hash, store.Device{Hostname: "late", Pin: id.Pin().String()}, then, store.Record{})
		}
		if err != nil || late.State != store.Pending {
			t.Fatalf("%+v %v", late, err)
		}
	})
	changes, stop := r.manager.Watch()
	defer stop()
	for {
		_, err := r.store.Device(t.Context(), late.ID)
		if errors.Is(err, store.ErrNotFound) {
			return
		}
		select {
		case <-changes:
		case <-r.context().Done():
			t.Fatalf("it still waits: %v", err)
		}
	}
}
