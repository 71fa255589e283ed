package handlers

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"borealis/store"
)

var nothing = map[string]string{}

// byPasskey signs in with a phone.
func (v *surfer) byPasskey(p *phone, next string) answer {
	v.rig.t.Helper()
	return v.json("/login/passkey", map[string]any{"next": next, "credential": p.get(v.rig.t, v.json("/login/passkey/options", nothing))})
}

func TestPasskeySignIn(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann, phone := r.person("ann"), newPhone()
	r.passkey(ann, phone)

	v := r.surfer()
	if a := v.get("/login"); !strings.Contains(a.body, "sign-in-passkey") || !strings.Contains(a.body, "/passkey.js") {
		t.Fatalf("the sign-in page offers no passkey: %s", a.body)
	}
	began := time.Now()
	var done passkeyDone
	v.byPasskey(phone, "/tunnels").into(t, &done)
	if s := v.session(); done.Next != "/tunnels" || s.OperatorID != ann.ID || s.Method != store.ByPasskey || s.VerifiedAt.Before(began.Add(-time.Second)) {
		t.Errorf("on to %q with %+v", done.Next, s)
	}
	if len(v.jar) != 1 {
		t.Errorf("cookies are left: %v", v.jar)
	}
	if a := v.get("/tunnels"); a.StatusCode != http.StatusOK {
		t.Errorf("signed in: %d", a.StatusCode)
	}
	v = r.surfer()
	v.byPasskey(phone, "https://evil.example").into(t, &done)
	if done.Next != "/devices" {
		t.Errorf("on to %q", done.Next)
	}
}

// TestPasskeyAsSecondStep after a password.
func TestPasskeyAsSecondStep(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann, phone := r.person("ann"), newPhone()
	r.passkey(ann, phone)
	bob, other := r.person("bob"), newPhone()
	r.passkey(bob, other)

	v := r.surfer()
	goesTo(t, v.fill("/login", "name", "ann", "password", testPassword, "next", "/tunnels"), "/login/second")
	if a := v.get("/login/second"); !strings.Contains(a.body, "proof-passkey") || strings.Contains(a.body, `id="proof-code"`) {
		t.Errorf("the page: %s", a.body)
	}
	// Another one's passkey is not hers, though it is good for him.
	options := v.json("/login/second/passkey/options", nothing)
	if p := v.json("/login/second/passkey", map[string]any{"credential": other.get(t, options)}).problem(t); p.Code != codeFactorFailed || v.jar[sessionCookie] != "" {
		t.Fatalf("another one's passkey: %+v", p)
	}
	var done passkeyDone
	v.json("/login/second/passkey", map[string]any{"credential": phone.get(t, v.json("/login/second/passkey/options", nothing))}).into(t, &done)
	if s := v.session(); done.Next != "/tunnels" || s.OperatorID != ann.ID || s.Method != store.ByPassword || s.VerifiedAt.IsZero() {
		t.Errorf("on to %q with %+v", done.Next, s)
	}
	if got := r.reasons("sign_in_failed"); got != "passkey" {
		t.Errorf("the reasons are %q", got)
	}
}

func TestPasskeyRefused(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	r.patient()
	ann, good := r.person("ann"), newPhone()
	r.passkey(ann, good)
	good.key.Counter = 40
	var done passkeyDone
	r.surfer().byPasskey(good, "").into(t, &done)

	for name, c := range map[string]struct {
		change func(p *phone)
		detail string // on record
	}{
		"wrong origin":      {func(p *phone) { p.site.Origin = "https://localhost.evil.example" }, "rigin"},
		"wrong host":        {func(p *phone) { p.site.ID = "evil.example" }, "RP Hash"},
		"user not verified": {func(p *phone) { p.Options.UserNotVerified = true }, "verification"},
		"cloned":            {func(p *phone) { p.key.Counter = 7 }, "counter"},
		"unknown":           {func(p *phone) { p.key.ID = []byte("another credential's id") }, "not known"},
	} {
		p := *good
		c.change(&p)
		v := r.surfer()
		got := v.byPasskey(&p, "").problem(t)
		if got.Code != codeFactorFailed || v.jar[sessionCookie] != "" {
			t.Errorf("%s: %+v", name, got)
		}
		lines, err := r.store.Records(t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, Kind: "sign_in_failed", Limit: 1})
		if err != nil || len(lines) != 1 || lines[0].Reason != failedPasskey || lines[0].Result != store.Refused || !strings.Contains(lines[0].Detail, c.detail) {
			t.Errorf("%s is recorded as %+v %v", name, lines, err)
		}
	}
}

// TestPasskeyChallengeWorksOnce: neither an answer nor a challenge can be used again, nor
// one browser's in another.
func TestPasskeyChallengeWorksOnce(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	r.patient()
	ann, phone := r.person("ann"), newPhone()
	r.passkey(ann, phone)
	v := r.surfer()
	options := v.json("/login/passkey/options", nothing)
	handle := v.jar[challengeCookie]
	answer := map[string]any{"credential": phone.get(t, options)}
	thief := r.surfer()
	thief.json("/login/passkey/options", nothing)
	if p := thief.json("/login/passkey", answer).problem(t); p.Code != codeFactorFailed {
		t.Errorf("in another browser: %+v", p)
	}
	if p := r.surfer().json("/login/passkey", answer).problem(t); p.Code != codeFactorFailed {
		t.Errorf("in a browser without a challenge: %+v", p)
	}
	var done passkeyDone
	v.json("/login/passkey", answer).into(t, &done)
	again := r.surfer()
	again.jar[challengeCookie] = handle
	if p := again.json("/login/passkey", answer).problem(t); p.Code != codeFactorFailed || again.jar[sessionCookie] != "" {
		t.Errorf("replayed: %+v", p)
	}
	again.jar[challengeCookie] = handle
	answer["credential"] = phone.get(t, options)
	if p := again.json("/login/passkey", answer).problem(t); p.Code != codeFactorFailed {
		t.Errorf("another answer to the same challenge: %+v", p)
	}
}

// TestPasskeyAtTheSameTime: of many that send the same answer one gets in.
func TestPasskeyAtTheSameTime(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	r.patient()
	ann, phone := r.person("ann"), newPhone()
	r.passkey(ann, phone)
	v := r.surfer()
	answer := map[string]any{"credential": phone.get(t, v.json("/login/passkey/options", nothing))}
	const many = 8
	var work sync.WaitGroup
	statuses := make([]int, many)
	for i := range many {
		one := r.surfer()
		one.jar[challengeCookie] = v.jar[challengeCookie]
		work.Go(func() { statuses[i] = one.json("/login/passkey", answer).StatusCode })
	}
	work.Wait()
	good := 0
	for _, status := range statuses {
		if status == http.StatusOK {
			good++
		}
	}
	if good != 1 {
		t.Errorf("%d of %d got in: %v", good, many, statuses)
	}
}

// TestPasskeyNeedsAName: by an address there are no passkeys, and the pages say so.
func TestPasskeyNeedsAName(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann := r.person("ann")
	r.passkey(ann, newPhone())
	v := r.surfer()
	if a := v.visit(http.MethodGet, "/login", "", "Host", r.address, "Accept", "text/html"); strings.Contains(a.body, "sign-in-passkey") {
		t.Error("the sign-in page offers a passkey for an address")
	}
	a := v.visit(http.MethodPost, "/login/passkey/options", "{}", "Host", r.address, "Content-Type", "application/json")
	if p := a.problem(t); p.Code != codeInvalid || !strings.Contains(p.Detail, "domain name") {
		t.Errorf("%+v", p)
	}
	v.signedIn(ann, store.Session{VerifiedAt: time.Now()})
	if a := v.visit(http.MethodGet, "/account", "", "Host", r.address, "Accept", "text/html"); !strings.Contains(a.body, "passkey-impossible") || strings.Contains(a.body, "passkey-add") {
		t.Error("the account page does not say why there can be no passkey")
	}
	if a := v.visit(http.MethodGet, "/verify", "", "Host", r.address, "Accept", "text/html"); !strings.Contains(a.body, "proof-elsewhere") || !strings.Contains(a.body, "localhost") {
		t.Error("nobody learns where the passkeys work")
	}
}

func TestPasskeyAdded(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann, phone := r.person("ann"), newPhone()
	v := r.surfer().signedIn(ann, store.Session{})
	before := v.jar[sessionCookie]
	if p := v.json("/account/passkeys/options", map[string]string{"password": "wrong"}).problem(t); p.Code != codeInvalid || p.Field != "password" {
		t.Fatalf("with a wrong password: %+v", p)
	}
	options := v.json("/account/passkeys/options", map[string]string{"password": testPassword})
	made := phone.create(t, options)
	other := r.surfer().signedIn(r.person("bob"), store.Session{})
	if p := other.json("/account/passkeys", map[string]any{"name": "x", "credential": made}).problem(t); p.Code != codeFactorFailed {
		t.Errorf("in another session: %+v", p)
	}
	if p := v.json("/account/passkeys", map[string]any{"name": " ", "credential": made}).problem(t); p.Code != codeInvalid || p.Field != "name" {
		t.Errorf("without a name: %+v", p)
	}
	var done passkeyDone
	v.json("/account/passkeys", map[string]any{"name": "phone", "credential": made}).into(t, &done)
	if v.jar[sessionCookie] == before || v.session().VerifiedAt.IsZero() {
		t.Error("a new passkey proves nothing")
	}
	if a := v.get(done.Next); !strings.Contains(a.body, "phone") || !strings.Contains(a.body, "passkey-row") {
		t.Errorf("the page: %s", a.body)
	}
	if p := v.json("/account/passkeys", map[string]any{"name": "phone", "credential": made}).problem(t); p.Code != codeFactorFailed {
		t.Errorf("twice: %+v", p)
	}
	// The same authenticator cannot be added again, not even by somebody else.
	bob, err := r.store.OperatorByName(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	other.signedIn(bob, store.Session{})
	options = other.json("/account/passkeys/options", map[string]string{"password": testPassword})
	if p := other.json("/account/passkeys", map[string]any{"name": "phone", "credential": phone.create(t, options)}).problem(t); p.Code != codeInvalid {
		t.Errorf("for somebody else too: %+v", p)
	}
	has, err := r.store.Factors(t.Context(), ann.ID)
	if err != nil || len(has.Passkeys) != 1 || has.Passkeys[0].RPID != "localhost" {
		t.Errorf("%+v %v", has, err)
	}
	if strings.Contains(string(has.Passkeys[0].Credential), "clientDataJSON") {
		t.Error("the whole attestation is kept")
	}
	id := has.Passkeys[0].ID
	if a := v.fill("/account/passkeys/" + id + "/remove"); a.StatusCode != http.StatusOK || strings.Contains(a.body, "passkey-row") {
		t.Errorf("removing it: %d", a.StatusCode)
	}
	if a := v.fill("/account/passkeys/"+id+"/remove", "password", testPassword); a.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("removing it twice: %d", a.StatusCode)
	}
	if p := r.surfer().byPasskey(phone, "").problem(t); p.Code != codeFactorFailed {
		t.Errorf("a removed passkey: %+v", p)
	}
}

// TestPasskeyRequests that are not what the script sends.
func TestPasskeyRequests(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	v := r.surfer()
	for body, want := range map[string]code{
		`{}`: codeInvalid, `[]`: codeMalformed, `{"credential":{},"credential":{}}`: codeMalformed,
		`{"extra":1}`: codeUnknownField, `{"credential":{}}`: codeFactorFailed, `{"credential":"x"}`: codeFactorFailed,
		`{"credential":{"id":{"id":{"id":1}}}}`: codeFactorFailed,
	} {
		v.json("/login/passkey/options", nothing)
		r.sources.forgive("127.0.0.1")
		if p := v.json("/login/passkey", json.RawMessage(body)).problem(t); p.Code != want {
			t.Errorf("%s: %s, want %s", body, p.Code, want)
		}
	}
	if a := v.visit(http.MethodPost, "/login/passkey", "a=b", "Content-Type", "application/x-www-form-urlencoded"); a.problem(t).Code != codeMediaType {
		t.Errorf("a form: %s", a.body)
	}
	if a := v.visit(http.MethodPost, "/login/passkey", "{}", "Content-Type", "application/json", "Sec-Fetch-Site", "cross-site"); a.problem(t).Code != codeCrossOrigin {
		t.Errorf("from another site: %s", a.body)
	}
}
