package handlers

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"borealis/handlers/access"
	"borealis/store"
)

const testPassword = "correct horse battery staple"

// person adds an operator who can sign in.
func (r *rig) person(name string) store.Operator {
	r.t.Helper()
	hash, err := HashPassword(testPassword)
	if err != nil {
		r.t.Fatal(err)
	}
	o, err := r.store.AddOperator(r.t.Context(), store.Operator{Name: name, Role: access.Admin, PasswordHash: hash}, prepared)
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

func signInForm(name, password, next string) string {
	return url.Values{"name": {name}, "password": {password}, "next": {next}}.Encode()
}

func TestSignInAndOut(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.person("Ann")
	c := r.stranger()
	a := c.post("/login", signInForm("ann", testPassword, "/activity"), "Sec-Fetch-Site", "same-origin")
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/activity" {
		t.Fatalf("%d %s %s", a.StatusCode, a.Header.Get("Location"), a.body)
	}
	header := a.Header.Get("Set-Cookie")
	for _, want := range []string{"__Host-brl=", "Path=/", "HttpOnly", "Secure", "SameSite=Strict"} {
		if !strings.Contains(header, want) {
			t.Errorf("the cookie %q has no %s", header, want)
		}
	}
	if strings.Contains(header, "Domain") || strings.Contains(header, "Max-Age") || strings.Contains(header, "Expires") {
		t.Errorf("the cookie is %q", header)
	}
	c.cookie = a.Cookies()[0].Value
	if a := c.do(http.MethodGet, "/activity", ""); a.StatusCode != http.StatusOK || !strings.Contains(a.body, "Ann") {
		t.Errorf("signed in: %d", a.StatusCode)
	}
	if a := c.do(http.MethodGet, "/login?next=/tunnels", ""); a.Header.Get("Location") != "/tunnels" {
		t.Errorf("the sign-in page with a session: %d %s", a.StatusCode, a.Header.Get("Location"))
	}

	if len(r.sources.owing) != 0 || len(r.names.owing) != 0 {
		t.Errorf("a good sign-in costs a penalty: %v %v", r.sources.owing, r.names.owing)
	}

	// Signing in again makes a new session and ends the old one.
	first := c.cookie
	c.cookie = c.post("/login", signInForm("ANN", testPassword, "")).Cookies()[0].Value
	if _, _, err := r.store.SessionByHash(t.Context(), HashSecret(first)); err == nil || c.cookie == first {
		t.Error("the session from before lives on")
	}

	out := c.post("/logout", "", "Accept", "text/html")
	if out.StatusCode != http.StatusSeeOther || out.Header.Get("Location") != "/login" || out.Cookies()[0].MaxAge >= 0 {
		t.Errorf("signing out: %d %v", out.StatusCode, out.Header)
	}
	if a := c.do(http.MethodGet, "/api/devices", ""); a.problem(t).Code != codeSessionExpired {
		t.Errorf("signed out: %s", a.body)
	}
	if got, want := strings.Join(r.kinds(), " "), "signed_in signed_out signed_in signed_out"; got != want {
		t.Errorf("on record: %s, want %s", got, want)
	}
	if strings.Contains(r.logs.String(), testPassword) || strings.Contains(r.logs.String(), c.cookie) {
		t.Error("a secret is in the log")
	}
}

func TestSignInRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.person("ann")
	c := r.stranger()
	for i, try := range []struct {
		name, password string
		want           int
	}{
		{"ann", "wrong", 401},
		{"nobody", testPassword, 401},
		{testPassword, "ann", 401}, // in the wrong field
		{"ann", testPassword, 429}, // even the right one then
	} {
		for try.want == 429 && r.sources.charge("127.0.0.1") == 0 {
			continue // as if the three had come faster
		}
		a := c.post("/login", signInForm(try.name, try.password, ""), "Accept", "text/html")
		if a.StatusCode != try.want || len(a.Cookies()) != 0 {
			t.Fatalf("try %d: %d %v", i, a.StatusCode, a.Cookies())
		}
		if !strings.Contains(a.Header.Get("Content-Type"), "text/html") {
			t.Errorf("try %d is answered with %s", i, a.Header.Get("Content-Type"))
		}
		if (a.StatusCode == http.StatusTooManyRequests) != (a.Header.Get("Retry-After") != "") {
			t.Errorf("try %d: Retry-After %q", i, a.Header.Get("Retry-After"))
		}
	}
	if p := c.post("/login", signInForm("ann", "wrong", "")).problem(t); p.Code != codeTooMany || p.Retry < 1 {
		t.Errorf("a program is told %+v", p)
	}
	lines, err := r.store.Records(t.Context(), store.RecordQuery{Scope: store.Scope{All: true}})
	if err != nil {
		t.Fatal(err)
	}
	var actors []string
	for _, a := range lines {
		if a.Source == prepared.Source {
			continue
		}
		actors = append(actors, a.Kind+":"+a.Actor)
		if strings.Contains(a.Actor+a.Detail+a.Reason, testPassword) {
			t.Errorf("the record has the password: %+v", a)
		}
	}
	if got, want := strings.Join(actors, " "), "sign_in_failed: sign_in_failed: sign_in_failed:ann"; got != want {
		t.Errorf("on record: %q, want %q", got, want)
	}
}

func TestSignInSameAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.person("ann")
	known := r.stranger().post("/login", signInForm("ann", "wrong", "")).problem(t)
	unknown := r.stranger().post("/login", signInForm("bob", "wrong", "")).problem(t)
	if known != unknown {
		t.Errorf("%+v differs from %+v", known, unknown)
	}
}

func TestSignInForms(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := r.stranger()
	if a := c.do(http.MethodPost, "/login", strings.Repeat("a", maxBody+1), "Content-Type", "application/x-www-form-urlencoded"); a.problem(t).Code != codeTooLarge {
		t.Errorf("a large form: %s", a.body)
	}
	if a := c.do(http.MethodPost, "/login", "%zz", "Content-Type", "application/x-www-form-urlencoded"); a.problem(t).Code != codeInvalid {
		t.Errorf("a broken form: %s", a.body)
	}
}

func TestLocalPath(t *testing.T) {
	t.Parallel()
	for next, want := range map[string]string{
		"/devices/x/summary?a=b": "/devices/x/summary?a=b",
		"/":                      "/",
		"":                       "/devices",
		"devices":                "/devices",
		"//evil.example":         "/devices",
		"/\\evil.example":        "/devices",
		"\\\\evil.example":       "/devices",
		"https://evil.example":   "/devices",
		"javascript:alert(1)":    "/devices",
		"/\tevil":                "/devices",
		"/a\r\nSet-Cookie: x=y":  "/devices",
		"///evil.example":        "/devices",
	} {
		if got := localPath(next); got != want {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
	}
}
