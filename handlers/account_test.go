package handlers

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"borealis/handlers/access"
	"borealis/store"
)

const newPassword = "another correct horse battery"

// TestAuthenticatorApp is set up with a password, counts once it was confirmed, comes
// with recovery codes, and is asked for from then on.
func TestAuthenticatorApp(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann := r.person("ann")
	v := r.surfer().signedIn(ann, store.Session{})
	if a := v.fill("/account/totp/begin", "password", "wrong"); a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, "The password is wrong") || strings.Contains(a.body, "totp-secret") {
		t.Fatalf("with a wrong password: %d", a.StatusCode)
	}
	a := v.fill("/account/totp/begin", "password", testPassword)
	found := regexp.MustCompile(`data-testid="totp-secret">([A-Z2-7]{32})<`).FindStringSubmatch(a.body)
	if a.StatusCode != http.StatusOK || found == nil || !strings.Contains(a.body, `src="data:image/png;base64,`) {
		t.Fatalf("setting it up: %d %s", a.StatusCode, a.body)
	}
	secret := found[1]
	if again := v.fill("/account/totp/confirm", "code", wrongCode(t, secret)); again.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(again.body, secret) {
		t.Errorf("a wrong code: %d", again.StatusCode)
	}
	if has, err := r.store.Factors(t.Context(), ann.ID); err != nil || has.TOTP {
		t.Fatalf("it counts before it is confirmed: %+v %v", has, err)
	}
	if other := r.surfer().signedIn(ann, store.Session{}).get("/account"); strings.Contains(other.body, secret) {
		t.Error("another session sees the secret")
	}
	cookie := v.jar[sessionCookie]
	a = v.fill("/account/totp/confirm", "code", codeOf(t, secret, 0))
	codes := regexp.MustCompile(`([a-z2-7]{4}-){3}[a-z2-7]{4}`).FindAllString(a.body[:strings.Index(a.body, "</pre>")], -1)
	if a.StatusCode != http.StatusOK || len(codes) != 10 {
		t.Fatalf("confirming it: %d, %d codes: %s", a.StatusCode, len(codes), a.body)
	}
	if v.jar[sessionCookie] == cookie || v.session().VerifiedAt.IsZero() {
		t.Error("it was not proven")
	}
	if p := v.fill("/account/totp/begin", "password", testPassword); p.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a second app: %d", p.StatusCode)
	}
	page := v.get("/account")
	for _, gone := range append(codes, secret) {
		if strings.Contains(page.body, gone) {
			t.Errorf("%s is shown again", gone)
		}
	}

	again := r.surfer()
	goesTo(t, again.fill("/login", "name", "ann", "password", testPassword), "/login/second")
	goesTo(t, again.fill("/login/second", "code", codes[0]), "/devices")
	if has, err := r.store.Factors(t.Context(), ann.ID); err != nil || has.RecoveryLeft != 9 {
		t.Errorf("%+v %v", has, err)
	}

	if a := v.fill("/account/totp/remove"); a.StatusCode != http.StatusOK {
		t.Errorf("removing it: %d", a.StatusCode)
	}
	if has, err := r.store.Factors(t.Context(), ann.ID); err != nil || has.Any() {
		t.Errorf("%+v %v", has, err)
	}
	r.noSecrets(append(codes, secret)...)
}

// noSecrets looks for secrets in the log, the records and the database's own text.
func (r *rig) noSecrets(secrets ...string) {
	r.t.Helper()
	lines, err := r.store.Records(r.t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, Limit: store.MaxPage})
	if err != nil {
		r.t.Fatal(err)
	}
	if len(lines) == 0 {
		r.t.Error("nothing is on record")
	}
	for _, secret := range secrets {
		if strings.Contains(r.logs.String(), secret) {
			r.t.Errorf("%s is in the log", secret)
		}
		for _, one := range lines {
			if strings.Contains(one.Detail+one.Reason+one.Target+one.Actor, secret) {
				r.t.Errorf("%s is on record: %+v", secret, one)
			}
		}
	}
}

// TestSecretsOfFactors: what somebody types, right or wrong, comes back nowhere.
func TestSecretsOfFactors(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	r.patient()
	ann := r.person("ann")
	secret, codes := r.app(ann), r.recovery(ann)
	v := r.surfer()
	typed := []string{"my-secret-guess-1", wrongCode(t, secret), codes[0], codeOf(t, secret, 0)}
	goesTo(t, v.fill("/login", "name", "ann", "password", testPassword), "/login/second")
	for _, code := range typed[:2] {
		if a := v.fill("/login/second", "code", code); strings.Contains(a.body, code) {
			t.Errorf("%q is in the answer", code)
		}
	}
	goesTo(t, v.fill("/login/second", "code", codes[0]), "/devices")
	for _, code := range typed {
		if a := v.fill("/verify", "code", code); strings.Contains(a.body, code) {
			t.Errorf("%q is in the answer", code)
		}
	}
	for _, path := range []string{"/account", "/verify", "/activity", "/api/activity"} {
		a := v.get(path)
		for _, one := range append(append(typed, codes...), secret, v.jar[sessionCookie]) {
			if strings.Contains(a.body, one) {
				t.Errorf("%q is at %s", one, path)
			}
		}
	}
	r.noSecrets(append(append(typed, codes...), secret, v.jar[sessionCookie], testPassword)...)
}

func TestSealedForOneOperator(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann, bob := r.person("ann"), r.person("bob")
	secret := r.app(bob)
	sealed, err := r.store.TOTP(t.Context(), bob.ID)
	if err != nil || strings.Contains(string(sealed), secret) {
		t.Fatalf("%q %v", sealed, err)
	}
	// Whoever can write to the database cannot give an operator another one's app.
	if err := r.store.SetTOTP(t.Context(), ann.ID, sealed, 0, prepared); err != nil {
		t.Fatal(err)
	}
	v := r.surfer().signedIn(ann, store.Session{})
	if a := v.fill("/verify", "code", codeOf(t, secret, 0)); a.StatusCode != http.StatusInternalServerError || !v.session().VerifiedAt.IsZero() {
		t.Errorf("%d", a.StatusCode)
	}
}

// TestChangingFactors is what each change takes, by policy.
func TestChangingFactors(t *testing.T) {
	t.Parallel()
	changes := []string{"/account/recovery", "/account/passkeys/x/remove", "/account/totp/remove"}
	for _, c := range []struct {
		policy   string
		verified time.Duration // ago; zero never
		password string
		want     int
	}{
		{stepUpSession, 0, testPassword, http.StatusForbidden},
		{stepUpSession, 6 * time.Minute, testPassword, http.StatusForbidden},
		{stepUpSession, time.Minute, "", http.StatusOK},
		{stepUpShell, 0, testPassword, http.StatusForbidden},
		{stepUpNever, 0, testPassword, http.StatusOK},
		{stepUpNever, time.Minute, "", http.StatusUnprocessableEntity},
		{stepUpNever, time.Minute, "wrong", http.StatusUnprocessableEntity},
	} {
		t.Run(fmt.Sprintf("%s %s %q", c.policy, c.verified, c.password), func(t *testing.T) {
			t.Parallel()
			r := factorRig(t, c.policy)
			r.patient()
			ann := r.person("ann")
			r.app(ann)
			one := store.Session{}
			if c.verified > 0 {
				one.VerifiedAt = time.Now().Add(-c.verified)
			}
			v := r.surfer().signedIn(ann, one)
			if a := v.json("/account/passkeys/options", map[string]string{"password": c.password}); a.StatusCode != c.want {
				t.Errorf("a new passkey: %d, want %d", a.StatusCode, c.want)
			}
			for _, path := range changes {
				want := c.want
				if want == http.StatusOK && strings.HasSuffix(path, "/x/remove") {
					want = http.StatusUnprocessableEntity // there is no such passkey
				}
				if want == http.StatusForbidden {
					goesTo(t, v.fill(path, "password", c.password), "/verify?next=/account")
					continue
				}
				if a := v.fill(path, "password", c.password); a.StatusCode != want {
					t.Errorf("%s: %d, want %d", path, a.StatusCode, want)
				}
			}
		})
	}
}

// TestAccountSaysWhatItTakes before somebody fills a form in.
func TestAccountSaysWhatItTakes(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann := r.person("ann")
	if a := r.surfer().signedIn(ann, store.Session{}).get("/account"); strings.Contains(a.body, "factors-verify") || !strings.Contains(a.body, `id="totp-password"`) {
		t.Error("without a factor it does not ask for the password")
	}
	r.app(ann)
	if a := r.surfer().signedIn(ann, store.Session{}).get("/account"); !strings.Contains(a.body, `href="/verify?next=/account"`) || strings.Contains(a.body, `id="totp-password"`) {
		t.Error("with a factor it does not ask for it")
	}
	if a := r.surfer().signedIn(ann, store.Session{VerifiedAt: time.Now()}).get("/account"); strings.Contains(a.body, "factors-verify") {
		t.Error("it asks for a factor that was just proven")
	}
}

func TestPasswordChange(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	r.patient()
	ann := r.person("ann")
	v, other := r.surfer().signedIn(ann, store.Session{}), r.surfer().signedIn(ann, store.Session{})
	for _, c := range []struct{ old, fresh, again, want string }{
		{"wrong", newPassword, newPassword, "The password is wrong"},
		{testPassword, "short", "short", "15 characters"},
		{testPassword, newPassword, newPassword + "!", "two different ways"},
		{testPassword, testPassword, testPassword, "the one you have"},
	} {
		if a := v.fill("/account/password", "old", c.old, "new", c.fresh, "again", c.again); a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, c.want) {
			t.Errorf("%+v: %d", c, a.StatusCode)
		}
	}
	if a := v.fill("/account/password", "old", testPassword, "new", newPassword, "again", newPassword); a.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if a := v.get("/account"); a.StatusCode != http.StatusOK {
		t.Errorf("the session that did it: %d", a.StatusCode)
	}
	if p := other.visit(http.MethodGet, "/api/devices", "").problem(t); p.Code != codeSessionExpired {
		t.Errorf("the other session: %+v", p)
	}
	if a := r.surfer().fill("/login", "name", "ann", "password", testPassword); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("the old password: %d", a.StatusCode)
	}
	goesTo(t, r.surfer().fill("/login", "name", "ann", "password", newPassword), "/devices")
	if got := r.reasons("verification_failed"); got != "password" {
		t.Errorf("on record: %q", got)
	}
	r.noSecrets(testPassword, newPassword)
}

// TestPasswordChangeEndsStreams: what the other browsers have open ends at once.
func TestPasswordChangeEndsStreams(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann := r.person("ann")
	v, other := r.surfer().signedIn(ann, store.Session{}), r.surfer().signedIn(ann, store.Session{})
	open := func(of *surfer) (context.Context, *stream) {
		ctx, one, err := r.streams.begin(t.Context(), owner{operator: ann, credential: of.session().ID, needs: access.Look})
		if err != nil {
			t.Fatal(err)
		}
		return ctx, one
	}
	theirs, one := open(other)
	defer one.end()
	mine, two := open(v)
	defer two.end()
	v.fill("/account/password", "old", testPassword, "new", newPassword, "again", newPassword)
	select {
	case <-theirs.Done():
	case <-r.context().Done():
		t.Error("what another session has open goes on")
	}
	if mine.Err() != nil {
		t.Error("what the session that did it has open ended")
	}
}

func TestOwnSessions(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann, bob := r.person("ann"), r.person("bob")
	v := r.surfer().signedIn(ann, store.Session{})
	one, two := r.surfer().signedIn(ann, store.Session{UserAgent: "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", RemoteAddr: "192.0.2.7"}), r.surfer().signedIn(ann, store.Session{})
	theirs := r.surfer().signedIn(bob, store.Session{})
	r.surfer().signedIn(ann, store.Session{CreatedAt: time.Now().Add(-time.Hour)}) // over: nobody was there for half an hour
	page := v.get("/account")
	if n := strings.Count(page.body, `data-testid="session-row"`); n != 3 || !strings.Contains(page.body, "Firefox on Linux") || !strings.Contains(page.body, "192.0.2.7") {
		t.Errorf("%d sessions are shown: %s", n, page.body)
	}
	if strings.Contains(page.body, theirs.session().ID) {
		t.Error("another one's session is shown")
	}
	for path, want := range map[string]int{
		"/account/sessions/" + theirs.session().ID + "/end": http.StatusUnprocessableEntity,
		"/account/sessions/" + v.session().ID + "/end":      http.StatusUnprocessableEntity, // that is what signing out is for
		"/account/sessions/" + one.session().ID + "/end":    http.StatusOK,
	} {
		if a := v.fill(path); a.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, a.StatusCode, want)
		}
	}
	if p := one.visit(http.MethodGet, "/api/devices", "").problem(t); p.Code != codeSessionExpired {
		t.Errorf("%+v", p)
	}
	if a := two.get("/account"); a.StatusCode != http.StatusOK {
		t.Errorf("the other one: %d", a.StatusCode)
	}
	if a := v.fill("/account/sessions/end-others"); a.StatusCode != http.StatusOK {
		t.Errorf("everywhere else: %d", a.StatusCode)
	}
	if p := two.visit(http.MethodGet, "/api/devices", "").problem(t); p.Code != codeSessionExpired {
		t.Errorf("%+v", p)
	}
	if a := theirs.get("/account"); a.StatusCode != http.StatusOK {
		t.Errorf("somebody else: %d", a.StatusCode)
	}
	if n := strings.Count(strings.Join(r.kinds(), " "), "session_revoked"); n < 2 {
		t.Errorf("on record: %v", r.kinds())
	}
}

func TestOwnTokens(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann, bob := r.person("ann"), r.person("bob")
	text, hash := NewAPIToken()
	mine, err := r.store.AddAPIToken(t.Context(), hash, store.APIToken{OperatorID: ann.ID, Label: "nightly <b>"}, prepared)
	if err != nil {
		t.Fatal(err)
	}
	_, hash = NewAPIToken()
	theirs, err := r.store.AddAPIToken(t.Context(), hash, store.APIToken{OperatorID: bob.ID, Label: "theirs"}, prepared)
	if err != nil {
		t.Fatal(err)
	}
	v := r.surfer().signedIn(ann, store.Session{})
	if a := v.get("/account"); !strings.Contains(a.body, "nightly &lt;b&gt;") || strings.Contains(a.body, "theirs") || strings.Contains(a.body, text) {
		t.Errorf("the page: %s", a.body)
	}
	if a := v.fill("/account/tokens/" + theirs.ID + "/revoke"); a.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("another one's: %d", a.StatusCode)
	}
	if a := v.fill("/account/tokens/" + mine.ID + "/revoke"); a.StatusCode != http.StatusOK {
		t.Errorf("one's own: %d", a.StatusCode)
	}
	program := r.stranger()
	program.token = text
	if p := program.do(http.MethodGet, "/api/devices", "").problem(t); p.Code != codeUnauthenticated {
		t.Errorf("a revoked token: %+v", p)
	}
	if all, err := r.store.APITokens(t.Context(), bob.ID); err != nil || len(all) != 1 {
		t.Errorf("%v %v", all, err)
	}
}

// TestAccountParts: htmx gets the part that the forms change, everybody else a page.
func TestAccountParts(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	v := r.surfer().signedIn(r.person("ann"), store.Session{})
	a := v.visit(http.MethodPost, "/account/totp/cancel", "", "HX-Request", "true", "HX-Target", "account")
	if a.StatusCode != http.StatusOK || strings.Contains(a.body, "<html") || !strings.Contains(a.body, `id="account"`) {
		t.Errorf("a part: %d %.200s", a.StatusCode, a.body)
	}
	if a := v.fill("/account/totp/cancel"); !strings.Contains(a.body, "<html") {
		t.Errorf("a page: %d %.200s", a.StatusCode, a.body)
	}
	for _, role := range access.Roles() {
		if a := r.surfer().signedIn(r.operatorWith("a-"+role, role), store.Session{}).get("/account"); a.StatusCode != http.StatusOK || !strings.Contains(a.body, role) {
			t.Errorf("%s: %d", role, a.StatusCode)
		}
	}
}

// TestAccountWithoutKey: an engine that has no key for secrets keeps none.
func TestAccountWithoutKey(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, func(c *Config) { c.Box = nil })
	v := r.surfer().signedIn(r.person("ann"), store.Session{})
	if a := v.get("/account"); strings.Contains(a.body, "totp-begin") {
		t.Error("an app is offered")
	}
	if a := v.fill("/account/totp/begin", "password", testPassword); a.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("%d", a.StatusCode)
	}
}
