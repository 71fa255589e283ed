package handlers

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"borealis/handlers/access"
	"borealis/store"

	"github.com/go-chi/chi/v5"
)

// TestEveryRouteNeedsASession asks each route that the router has, as a stranger, as
// somebody with a wrong cookie, and as a program with a wrong token. A route that is
// added without thinking of this is covered the moment it exists.
func TestEveryRouteNeedsASession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stranger, forger, program := r.stranger(), r.stranger(), r.stranger()
	forger.cookie = newSecret()
	program.token, _ = NewAPIToken()
	walked, seen := 0, make(map[string]bool)
	err := chi.Walk(r.mux, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		walked++
		seen[method+" "+route] = true
		if r.needs[method+" "+route] == anyone {
			return nil
		}
		path := strings.NewReplacer("{id}", "01990000-0000-7000-8000-000000000000", "{tab}", "summary", "*", "x").Replace(route)
		for name, c := range map[string]*client{"stranger": stranger, "forger": forger, "program": program} {
			a := c.do(method, path, "")
			if name == "program" && a.StatusCode == http.StatusTooManyRequests {
				continue // it has tried so often by now
			}
			if a.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s %s as %s: %d", method, path, name, a.StatusCode)
			} else if !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s %s: no WWW-Authenticate", method, path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if walked < 40 {
		t.Errorf("only %d routes were found", walked)
	}
	for route := range r.needs {
		if !seen[route] {
			t.Errorf("%s is in the table but not in the router", route)
		}
	}
}

// TestStrangersLearnNothing: what does not exist looks like what does.
func TestStrangersLearnNothing(t *testing.T) {
	t.Parallel()
	c := newRig(t).stranger()
	for _, path := range []string{"/nothing", "/api/nothing", "/devices/x/nothing", "/_s", "/login/", "/healthz/x", "/_s/..%2fdevices", "/%5fs/x", "//devices"} {
		if a := c.do(http.MethodGet, path, ""); a.StatusCode == http.StatusOK || (a.StatusCode != http.StatusUnauthorized && a.StatusCode != http.StatusNotFound) {
			t.Errorf("%s: %d %.100s", path, a.StatusCode, a.body)
		}
	}
	if a := c.do(http.MethodPut, "/login", ""); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("PUT /login: %d", a.StatusCode)
	}
}

// TestPeopleAreSentToSignIn: a browser's navigation gets the sign-in page, and from
// there goes where it wanted to go.
func TestPeopleAreSentToSignIn(t *testing.T) {
	t.Parallel()
	c := newRig(t).stranger()
	a := c.do(http.MethodGet, "/devices?q=a%26b", "", "Accept", "text/html,*/*")
	if to := a.Header.Get("Location"); a.StatusCode != http.StatusSeeOther || to != "/login?next=%2Fdevices%3Fq%3Da%2526b" {
		t.Errorf("%d %s", a.StatusCode, to)
	}
	if a := c.do(http.MethodGet, "/devices", "", "Accept", "text/html", "HX-Request", "true"); a.problem(t).Code != codeUnauthenticated {
		t.Errorf("htmx: %d %s", a.StatusCode, a.body)
	}
	if a := c.do(http.MethodGet, "/api/devices", "", "Accept", "text/html"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("API: %d", a.StatusCode)
	}
}

func TestSessionExpiry(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	o := r.operatorWith("ann", access.Admin)
	now := time.Now()
	for _, c := range []struct {
		name    string
		session store.Session
		live    bool
	}{
		{"fresh", store.Session{CreatedAt: now, SeenAt: now, ExpiresAt: now.Add(sessionLife)}, true},
		{"used just within the idle time", store.Session{CreatedAt: now.Add(-time.Hour), SeenAt: now.Add(-sessionIdle + time.Minute), ExpiresAt: now.Add(time.Hour)}, true},
		{"idle", store.Session{CreatedAt: now.Add(-time.Hour), SeenAt: now.Add(-sessionIdle), ExpiresAt: now.Add(time.Hour)}, false},
		{"used but too old", store.Session{CreatedAt: now.Add(-sessionLife), SeenAt: now, ExpiresAt: now}, false},
	} {
		b := r.stranger()
		b.cookie = r.session(o, c.session)
		a := b.do(http.MethodGet, "/api/devices", "")
		if c.live {
			if a.StatusCode != http.StatusOK {
				t.Errorf("%s: %d", c.name, a.StatusCode)
			}
			continue
		}
		if a.problem(t).Code != codeSessionExpired {
			t.Errorf("%s: %s", c.name, a.body)
		}
		if _, _, err := r.store.SessionByHash(t.Context(), HashSecret(b.cookie)); err == nil {
			t.Errorf("%s: the session is still there", c.name)
		}
	}
}

// TestUseKeepsASession: requests of a person do, what a page does by itself does not.
func TestUseKeepsASession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	o := r.operatorWith("ann", access.Admin)
	before := time.Now().Add(-sessionIdle / 2)
	for path, keeps := range map[string]bool{"/devices": true, "/events?view=nothing": false} {
		b := r.stranger()
		b.cookie = r.session(o, store.Session{CreatedAt: before, SeenAt: before, ExpiresAt: time.Now().Add(time.Hour)})
		b.do(http.MethodGet, path, "")
		s, _, err := r.store.SessionByHash(t.Context(), HashSecret(b.cookie))
		if err != nil {
			t.Fatal(err)
		}
		if s.SeenAt.After(before.Add(time.Minute)) != keeps {
			t.Errorf("%s: seen at %s", path, s.SeenAt)
		}
	}
}

func TestTokensOfPrograms(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.program("script", access.Operator)
	if a := p.do(http.MethodGet, "/api/devices", ""); a.StatusCode != http.StatusOK {
		t.Errorf("a good token: %d %s", a.StatusCode, a.body)
	}
	if a := p.do(http.MethodGet, "/devices", ""); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a token opens a page: %d", a.StatusCode)
	}
	o := r.operatorWith("old", access.Operator)
	old := r.stranger()
	var hash [32]byte
	old.token, hash = NewAPIToken()
	if _, err := r.store.AddAPIToken(t.Context(), hash, store.APIToken{OperatorID: o.ID, ExpiresAt: time.Now().Add(-time.Second)}, store.Record{}); err != nil {
		t.Fatal(err)
	}
	if a := old.do(http.MethodGet, "/api/devices", ""); a.problem(t).Code != codeSessionExpired {
		t.Errorf("an old token: %s", a.body)
	}
	// A wrong token is not made good by a good cookie.
	both := r.browser("both", access.Admin)
	for _, header := range []string{"Bearer", "Bearer brlt_x", "Bearer x", "Basic eDp4", "brlt_" + strings.Repeat("A", 52)} {
		if a := both.do(http.MethodGet, "/api/devices", "", "Authorization", header); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%q: %d", header, a.StatusCode)
		}
	}
}

// TestRoles asks what each role may do, by a route for each right.
func TestRoles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	for role, may := range map[string][]access.Right{
		access.Admin: {access.Look, access.Connect, access.ManageDevices}, access.Operator: {access.Look, access.Connect}, access.Viewer: {access.Look}, access.Auditor: {access.Look},
	} {
		b := r.browser("role-"+role, role)
		for _, c := range []struct {
			right              access.Right
			method, path, body string
		}{
			{access.Look, "GET", "/api/devices", ""},
			{access.Look, "GET", "/devices", ""},
			{access.Look, "GET", "/activity", ""},
			{access.Connect, "POST", "/api/tunnel/connect", `{"device_id":"` + d.ID + `"}`},
			{access.Connect, "POST", "/devices/" + d.ID + "/tunnel/connect", ""},
			{access.Connect, "POST", "/devices/" + d.ID + "/tunnel/disconnect", ""},
			{access.Connect, "POST", "/devices/" + d.ID + "/tunnel/keep-open", ""},
			{access.Connect, "POST", "/devices/" + d.ID + "/terminal/ticket", ""},
			{access.Connect, "GET", "/devices/" + d.ID + "/terminal/ws", ""},
			{access.Connect, "DELETE", "/api/tunnel/disconnect?device_id=" + d.ID, ""},
			{access.ManageDevices, "DELETE", "/api/tunnel/disconnect?force=true&device_id=" + d.ID, ""},
			{access.ManageDevices, "POST", "/api/codes", "{}"},
			{access.ManageDevices, "POST", "/enrolment/codes", ""},
			{access.ManageDevices, "POST", "/devices/" + d.ID + "/approve", ""},
			{access.ManageDevices, "POST", "/api/devices/" + d.ID + "/approve", ""},
		} {
			allowed := false
			for _, x := range may {
				allowed = allowed || x == c.right
			}
			a := b.do(c.method, c.path, c.body)
			forbidden := a.StatusCode == http.StatusForbidden && a.problem(t).Code == codeForbidden
			if forbidden == allowed {
				t.Errorf("role %q: %s %s: %d, allowed should be %v: %.200s", role, c.method, c.path, a.StatusCode, allowed, a.body)
			}
		}
	}
}
