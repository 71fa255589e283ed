package handlers

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"borealis/handlers/access"
	"borealis/store"
)

// TestStepUp is who may open a terminal, and who may change who may sign in, by policy
// and by what they have proven when.
func TestStepUp(t *testing.T) {
	t.Parallel()
	const program = "program"
	for _, c := range []struct {
		policy   string
		verified string // how long ago; "" never
		shell    bool   // may open a terminal
		again    bool   // and another one
		fresh    bool   // may manage operators
	}{
		{stepUpNever, "", true, true, true},
		{stepUpNever, "1m", true, true, true},
		{stepUpNever, program, true, true, true},

		{"", "", false, false, false},
		{"", "1m", true, true, true},
		{stepUpSession, "", false, false, false},
		{stepUpSession, "1m", true, true, true},
		{stepUpSession, "6m", true, true, false},
		{stepUpSession, "11h59m", true, true, false},
		{stepUpSession, "12h1m", false, false, false},
		{stepUpSession, program, true, true, true},

		{stepUpShell, "", false, false, false},
		{stepUpShell, "1m", true, false, true},
		{stepUpShell, "6m", false, false, false},
		{stepUpShell, program, false, false, false},
	} {
		t.Run(fmt.Sprintf("%s_%s", c.policy, c.verified), func(t *testing.T) {
			t.Parallel()
			r := factorRig(t, c.policy)
			ann := r.operatorWith("ann", access.Admin)
			p := principal{operator: ann}
			if c.verified == program {
				p.token = store.APIToken{ID: "1", OperatorID: ann.ID}
			} else {
				one := store.Session{ExpiresAt: time.Now().Add(sessionLife)}
				if c.verified != "" {
					ago, err := time.ParseDuration(c.verified)
					if err != nil {
						t.Fatal(err)
					}
					one.VerifiedAt = time.Now().Add(-ago)
				}
				var err error
				if p, err = r.resume(t.Context(), r.session(ann, one)); err != nil {
					t.Fatal(err)
				}
			}
			for _, tried := range []struct {
				what string
				err  error
				ok   bool
			}{
				{"a terminal", r.stepUp(t.Context(), p), c.shell},
				{"managing", r.fresh(p), c.fresh},
				{"another terminal", r.stepUp(t.Context(), p), c.again},
			} {
				what := tried.what
				switch {
				case tried.ok && tried.err != nil:
					t.Errorf("%s: %v", what, tried.err)
				case !tried.ok && problemOf(tried.err).Code != codeSecondFactor:
					t.Errorf("%s is not refused: %v", what, tried.err)
				case !tried.ok && (problemOf(tried.err).Status != http.StatusForbidden || !strings.Contains(problemOf(tried.err).Hint, "/verify")):
					t.Errorf("%s: %+v", what, problemOf(tried.err))
				}
			}
		})
	}
}

// TestStepUpAfterVerifying: each proof is good for one terminal.
func TestStepUpAfterVerifying(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpShell)
	ann := r.person("ann")
	codes := r.recovery(ann)
	r.app(ann)
	v := r.surfer().signedIn(ann, store.Session{})
	for i := range 3 {
		goesTo(t, v.fill("/verify", "code", codes[i], "next", "/devices"), "/devices")
		p, err := r.resume(t.Context(), v.jar[sessionCookie])
		if err != nil {
			t.Fatal(err)
		}
		if err := r.stepUp(t.Context(), p); err != nil {
			t.Errorf("terminal %d: %v", i, err)
		}
		if err := r.stepUp(t.Context(), p); problemOf(err).Code != codeSecondFactor {
			t.Errorf("a second terminal with proof %d: %v", i, err)
		}
	}
}

// TestVerifying changes the session's cookie, and nothing else of the session.
func TestVerifying(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann, phone := r.person("ann"), newPhone()
	secret := r.app(ann)
	v := r.surfer().signedIn(ann, store.Session{})
	if a := v.get("/verify?next=/devices/x/powershell"); a.StatusCode != http.StatusOK || !strings.Contains(a.body, `value="/devices/x/powershell"`) {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	before, cookie := v.session(), v.jar[sessionCookie]
	goesTo(t, v.fill("/verify", "code", codeOf(t, secret, 0), "next", "/devices/x/powershell"), "/devices/x/powershell")
	after := v.session()
	if v.jar[sessionCookie] == cookie || after.ID != before.ID || after.VerifiedAt.IsZero() || !after.ExpiresAt.Equal(before.ExpiresAt) {
		t.Errorf("before %+v, after %+v", before, after)
	}
	old := r.surfer()
	old.jar[sessionCookie] = cookie
	if p := old.visit(http.MethodGet, "/api/devices", "").problem(t); p.Code != codeSessionExpired {
		t.Errorf("the cookie from before: %+v", p)
	}
	// What is open stays open: it is the session's, whatever its cookie is called.
	request := httptest.NewRequestWithContext(context.WithValue(t.Context(), principalKey{}, principal{operator: ann, session: before}), http.MethodGet, "/events", nil)
	request.AddCookie(&http.Cookie{Name: sessionCookie, Value: cookie})
	if err := r.alive(request); err != nil {
		t.Errorf("what is open ends: %v", err)
	}
	goesTo(t, v.fill("/verify", "code", codeOf(t, secret, 1), "next", "https://evil.example"), "/devices")

	r.passkey(ann, phone)
	cookie = v.jar[sessionCookie]
	var done passkeyDone
	v.json("/verify/passkey", map[string]any{"next": "/tunnels", "credential": phone.get(t, v.json("/verify/passkey/options", nothing))}).into(t, &done)
	if done.Next != "/tunnels" || v.jar[sessionCookie] == cookie {
		t.Errorf("on to %q", done.Next)
	}
	if p := v.json("/verify/passkey", map[string]any{"credential": phone.get(t, v.json("/verify/passkey/options", nothing))}); p.StatusCode != http.StatusOK {
		t.Errorf("again: %d", p.StatusCode)
	}
	if a := v.fill("/logout"); a.StatusCode != http.StatusSeeOther {
		t.Fatal(a.StatusCode)
	}
	if err := r.alive(request); err == nil {
		t.Error("what is open outlives its session")
	}
}

// TestVerifyingWithoutFactor leads to where one is set up; the password is none.
func TestVerifyingWithoutFactor(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann := r.person("ann")
	codes := r.recovery(ann)
	v := r.surfer().signedIn(ann, store.Session{})
	if a := v.get("/verify?next=/devices"); !strings.Contains(a.body, `href="/account"`) || strings.Contains(a.body, `name="password"`) || strings.Contains(a.body, `id="proof-code"`) {
		t.Errorf("the page: %s", a.body)
	}
	for _, code := range []string{"", testPassword, codes[0]} {
		if a := v.fill("/verify", "code", code); a.StatusCode == http.StatusSeeOther {
			t.Errorf("%q proves something", code)
		}
		r.sources.forgive("127.0.0.1")
	}
	if p := v.json("/verify/passkey/options", nothing).problem(t); p.Code != codeInvalid {
		t.Errorf("a passkey: %+v", p)
	}
	if got := r.reasons("verification_failed"); got != "second_factor second_factor second_factor" {
		t.Errorf("on record: %q", got)
	}
}

// TestVerifyingIsOnesOwn: another operator's code and passkey prove nothing.
func TestVerifyingIsOnesOwn(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	r.patient()
	ann, bob, phone := r.person("ann"), r.person("bob"), newPhone()
	r.app(ann)
	secret, codes := r.app(bob), r.recovery(bob)
	r.passkey(ann, newPhone())
	r.passkey(bob, phone)
	v := r.surfer().signedIn(ann, store.Session{})
	for _, code := range []string{codeOf(t, secret, 0), codes[0]} {
		if a := v.fill("/verify", "code", code); a.StatusCode != http.StatusForbidden {
			t.Errorf("another one's %s: %d", code, a.StatusCode)
		}
	}
	if p := v.json("/verify/passkey", map[string]any{"credential": phone.get(t, v.json("/verify/passkey/options", nothing))}).problem(t); p.Code != codeFactorFailed {
		t.Errorf("another one's passkey: %+v", p)
	}
	if !v.session().VerifiedAt.IsZero() {
		t.Error("it counts")
	}
}

func TestStepUpPolicies(t *testing.T) {
	t.Parallel()
	for policy, ok := range map[string]bool{"": true, "never": true, "session": true, "shell": true, "Shell": false, "always": false} {
		if _, err := newSignIns(Config{StepUp: policy}); (err == nil) != ok {
			t.Errorf("%q: %v", policy, err)
		}
	}
}
