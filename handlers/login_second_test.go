package handlers

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"borealis/store"
)

func TestSecondStep(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann := r.person("ann")
	secret, codes := r.app(ann), r.recovery(ann)

	v := r.surfer()
	goesTo(t, v.fill("/login", "name", "ann", "password", testPassword, "next", "/tunnels"), "/login/second")
	if v.jar[sessionCookie] != "" {
		t.Fatal("there is a session before the second factor")
	}
	if a := v.get("/devices"); a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(a.Header.Get("Location"), "/login?") {
		t.Fatalf("half signed in: %d %s", a.StatusCode, a.Header.Get("Location"))
	}
	if a := v.get("/login/second"); a.StatusCode != http.StatusOK || !strings.Contains(a.body, "ann") || !strings.Contains(a.body, "proof-code") {
		t.Fatalf("the page: %d %s", a.StatusCode, a.body)
	}
	if a := v.fill("/login/second", "code", wrongCode(t, secret)); a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "The code is wrong") || v.jar[sessionCookie] != "" {
		t.Fatalf("a wrong code: %d %s", a.StatusCode, a.body)
	}
	began := time.Now()
	goesTo(t, v.fill("/login/second", "code", codeOf(t, secret, 0)), "/tunnels")
	if s := v.session(); s.Method != store.ByPassword || s.VerifiedAt.Before(began.Add(-time.Second)) {
		t.Errorf("the session is %+v", s)
	}
	if len(v.jar) != 1 {
		t.Errorf("cookies are left: %v", v.jar)
	}

	// The code of an app works once, and so does a recovery code.
	for i, code := range []string{codes[3], strings.ToUpper(codes[4])} {
		v = r.surfer()
		goesTo(t, v.fill("/login", "name", "ann", "password", testPassword), "/login/second")
		goesTo(t, v.fill("/login/second", "code", code), "/devices")
		if i == 0 {
			again := r.surfer()
			goesTo(t, again.fill("/login", "name", "ann", "password", testPassword), "/login/second")
			if a := again.fill("/login/second", "code", code); a.StatusCode != http.StatusForbidden {
				t.Errorf("a recovery code works twice: %d", a.StatusCode)
			}
		}
	}
	if got, want := strings.Join(r.kinds(), " "), "sign_in_failed signed_in recovery_code_used signed_in sign_in_failed recovery_code_used signed_in"; got != want {
		t.Errorf("on record: %s\nwant: %s", got, want)
	}
	if got := r.reasons("sign_in_failed"); got != "second_factor second_factor" {
		t.Errorf("the reasons are %q", got)
	}
	has, err := r.store.Factors(t.Context(), ann.ID)
	if err != nil || has.RecoveryLeft != len(codes)-2 {
		t.Errorf("%d recovery codes are left %v", has.RecoveryLeft, err)
	}
}

// TestOneTimeCodeWorksOnce also for two who use it at the same time, and not a step
// later any more.
func TestOneTimeCodeWorksOnce(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	r.patient()
	ann := r.person("ann")
	secret := r.app(ann)
	code := codeOf(t, secret, 0)
	const many = 6
	var work sync.WaitGroup
	answers := make([]int, many)
	for i := range many {
		v := r.surfer().signedIn(ann, store.Session{})
		work.Go(func() { answers[i] = v.fill("/verify", "code", code).StatusCode })
	}
	work.Wait()
	good := 0
	for _, status := range answers {
		if status == http.StatusSeeOther {
			good++
		}
	}
	if good != 1 {
		t.Errorf("%d of %d at the same time were let in: %v", good, many, answers)
	}
}

// TestOlderCodeAfterNewer: once a code was used, the ones before it are over.
func TestOlderCodeAfterNewer(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann := r.person("ann")
	secret := r.app(ann)
	v := r.surfer().signedIn(ann, store.Session{})
	goesTo(t, v.fill("/verify", "code", codeOf(t, secret, 1), "next", "/devices"), "/devices")
	if a := v.fill("/verify", "code", codeOf(t, secret, 0)); a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "used already") {
		t.Errorf("%d %.200s", a.StatusCode, a.body)
	}
}

func TestSecondStepTries(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	r.patient()
	ann := r.person("ann")
	secret := r.app(ann)
	r.signIns.codes.mu.Lock()
	r.signIns.codes.burst = time.Hour // it is the other limit that is tried here
	r.signIns.codes.mu.Unlock()
	v := r.surfer()
	goesTo(t, v.fill("/login", "name", "ann", "password", testPassword), "/login/second")
	for i := range maxTries {
		if a := v.fill("/login/second", "code", wrongCode(t, secret)); a.StatusCode != http.StatusForbidden {
			t.Fatalf("try %d: %d", i, a.StatusCode)
		}
	}
	if a := v.fill("/login/second", "code", codeOf(t, secret, 0)); a.StatusCode != http.StatusUnauthorized || !strings.Contains(a.body, "sign-in-form") {
		t.Errorf("the right code after %d wrong ones: %d", maxTries, a.StatusCode)
	}
}

// TestCodesAreThrottled: five wrong codes of an operator in a row cost ten minutes,
// whoever tries from wherever, and however often the password is given.
func TestCodesAreThrottled(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	r.patient()
	ann := r.person("ann")
	secret := r.app(ann)
	for i := range 5 {
		v := r.surfer().signedIn(ann, store.Session{})
		if a := v.fill("/verify", "code", wrongCode(t, secret)); a.StatusCode != http.StatusForbidden {
			t.Fatalf("try %d: %d", i, a.StatusCode)
		}
	}
	v := r.surfer().signedIn(ann, store.Session{})
	if a := v.fill("/verify", "code", codeOf(t, secret, 0)); a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
		t.Errorf("the right code after five wrong ones: %d", a.StatusCode)
	}
	bob := r.person("bob")
	goesTo(t, r.surfer().signedIn(bob, store.Session{}).fill("/verify", "code", codeOf(t, r.app(bob), 0)), "/devices")
}

// TestWrongCodesCostTheSource as wrong passwords do.
func TestWrongCodesCostTheSource(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann := r.person("ann")
	secret := r.app(ann)
	v := r.surfer().signedIn(ann, store.Session{})
	for i := range 4 {
		want := http.StatusForbidden
		if i == 3 {
			want = http.StatusTooManyRequests
			for r.sources.charge("127.0.0.1") == 0 {
				continue // as if the three had come faster
			}
		}
		if a := v.fill("/verify", "code", wrongCode(t, secret)); a.StatusCode != want {
			t.Fatalf("try %d: %d, want %d", i, a.StatusCode, want)
		}
	}
}

func TestLockedOperatorCannotSignIn(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann := r.person("ann")
	r.person("admin")
	phone := newPhone()
	r.passkey(ann, phone)
	if err := r.store.AddLock(t.Context(), store.Lock{Kind: store.LockOperator, Target: ann.ID, Reason: "lost laptop", By: "jon"}, prepared); err != nil {
		t.Fatal(err)
	}
	v := r.surfer()
	a := v.fill("/login", "name", "ann", "password", testPassword)
	if a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "lost laptop") || len(v.jar) != 0 {
		t.Errorf("the right password: %d %v %.300s", a.StatusCode, v.jar, a.body)
	}
	if a := v.fill("/login", "name", "ann", "password", "wrong"); a.StatusCode != http.StatusUnauthorized || strings.Contains(a.body, "lost laptop") || strings.Contains(a.body, "locked") {
		t.Errorf("a wrong password tells of the lock: %d %.300s", a.StatusCode, a.body)
	}
	a = v.json("/login/passkey", map[string]any{"credential": phone.get(t, v.json("/login/passkey/options", map[string]string{}))})
	if p := a.problem(t); p.Code != codeOperatorLocked || v.jar[sessionCookie] != "" {
		t.Errorf("a passkey: %+v", p)
	}
	if got := r.reasons("sign_in_failed"); got != "locked password locked" {
		t.Errorf("the reasons are %q", got)
	}
}

// TestLockedWhileSigningIn: between the two steps.
func TestLockedWhileSigningIn(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann := r.person("ann")
	r.person("admin")
	secret := r.app(ann)
	v := r.surfer()
	goesTo(t, v.fill("/login", "name", "ann", "password", testPassword), "/login/second")
	if err := r.store.AddLock(t.Context(), store.Lock{Kind: store.LockOperator, Target: ann.ID, Reason: "gone"}, prepared); err != nil {
		t.Fatal(err)
	}
	if a := v.fill("/login/second", "code", codeOf(t, secret, 0)); a.StatusCode != http.StatusForbidden || v.jar[sessionCookie] != "" {
		t.Errorf("%d %v", a.StatusCode, v.jar)
	}
}

// TestPasswordChangedWhileSigningIn: whoever began with the old one begins again.
func TestPasswordChangedWhileSigningIn(t *testing.T) {
	t.Parallel()
	r := factorRig(t, stepUpSession)
	ann := r.person("ann")
	secret := r.app(ann)
	v := r.surfer()
	goesTo(t, v.fill("/login", "name", "ann", "password", testPassword), "/login/second")
	hash, err := HashPassword(newPassword)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.store.SetPassword(t.Context(), ann.ID, hash, prepared); err != nil {
		t.Fatal(err)
	}
	if a := v.fill("/login/second", "code", codeOf(t, secret, 0)); a.StatusCode != http.StatusUnauthorized || v.jar[sessionCookie] != "" {
		t.Errorf("%d %v", a.StatusCode, v.jar)
	}
}

// TestKeep: what is kept of sign-ins is bounded, and a stranger who begins many loses
// their own.
func TestKeep(t *testing.T) {
	t.Parallel()
	var k keep[int]
	k.put("mine", "me", 1)
	for i := range maxOwned + 1 {
		k.put(strings.Repeat("x", i), "stranger", i)
	}
	if _, ok := k.look("mine"); !ok {
		t.Error("one owner's many took the place of another's")
	}
	if len(k.all) != maxOwned+1 {
		t.Errorf("%d are kept", len(k.all))
	}
	for i := range maxKept {
		k.put(newSecret(), newSecret(), i)
	}
	if len(k.all) != maxKept {
		t.Errorf("%d are kept", len(k.all))
	}
	k.put("a", "me", 1)
	for range maxTries {
		if _, ok := k.try("a"); !ok {
			t.Error("a try was refused")
		}
	}
	if _, ok := k.try("a"); ok {
		t.Error("there are more tries than allowed")
	}
	if v, ok := k.take("a"); !ok || v != 1 {
		t.Error("it cannot be taken")
	}
	if _, ok := k.take("a"); ok {
		t.Error("it can be taken twice")
	}
	k.put("", "me", 1)
	if _, ok := k.look(""); ok {
		t.Error("a missing cookie finds something")
	}
}
