package handlers

import (
	"net/http"
	"strings"
	"testing"

	"borealis/handlers/access"
	"borealis/store"
)

func TestHosts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	port := r.address[strings.LastIndex(r.address, ":"):]
	for _, c := range []struct {
		host string
		want int
	}{
		{"127.0.0.1", 200},
		{"127.0.0.1" + port, 200},
		{"127.0.0.1:1", 200}, // a proxy may use another port
		{"localhost", 200},
		{"LOCALHOST" + port, 200},
		{"evil.example", 421},
		{"evil.example" + port, 421},
		{"localhost.evil.example", 421},
		{"localhost.", 421},
		{"127.0.0.1.evil.example", 421},
		{"127.0.0.2", 421},
		{"127.1", 421},
		{"localhost:https", 421},
		{"localhost:", 421},
		{"agent.borealis.internal", 421},
	} {
		a := r.stranger().do(http.MethodGet, "/healthz", "", "Host", c.host)
		if a.StatusCode != c.want {
			t.Errorf("Host %q: %d, want %d", c.host, a.StatusCode, c.want)
		}
		if c.want == 421 && a.problem(t).Code != codeWrongHost {
			t.Errorf("Host %q: %s", c.host, a.body)
		}
	}
}

// TestHostsBeforeSession shows that a page whose name was made to point here gets
// nothing with a session's cookie either.
func TestHostsBeforeSession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.browser("ann", access.Admin)
	for _, path := range []string{"/devices", "/api/devices", "/events", "/login", "/nothing"} {
		if a := b.do(http.MethodGet, path, "", "Host", "evil.example", "Origin", "https://evil.example", "Sec-Fetch-Site", "same-origin"); a.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
}

// TestLocalAddress: whoever calls the console by the address that the connection came
// to means this machine, whatever names it was given.
func TestLocalAddress(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, func(c *Config) { c.Hosts = []string{"console.example.com"} })
	for host, want := range map[string]int{"127.0.0.1": 200, "127.0.0.1:8443": 200, "console.example.com": 200, "127.0.0.2": 421, "localhost": 421} {
		if a := r.stranger().do(http.MethodGet, "/healthz", "", "Host", host); a.StatusCode != want {
			t.Errorf("Host %q: %d, want %d", host, a.StatusCode, want)
		}
	}
}

func TestDefaultHosts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, err := New(Config{Store: r.store, Manager: r.manager, Keys: r.keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for _, host := range []string{"localhost", "127.0.0.1", "[::1]", "[::1]:8443", "[0:0:0:0:0:0:0:1]"} {
		if !s.hosts[requestHost(&http.Request{Host: host})] {
			t.Errorf("%s is refused", host)
		}
	}
	for _, host := range []string{"", "example.com", "[::2]", "[::1", "::1]"} {
		if s.hosts[requestHost(&http.Request{Host: host})] {
			t.Errorf("%s is allowed", host)
		}
	}
}

func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	own := "https://" + r.address
	for _, c := range []struct {
		name, method string
		headers      []string
		want         int
	}{
		{"a program", "POST", nil, 303},
		{"our page", "POST", []string{"Sec-Fetch-Site", "same-origin", "Origin", own}, 303},
		{"our page without referrer", "POST", []string{"Sec-Fetch-Site", "same-origin", "Origin", "null"}, 303},
		{"typed by a person", "POST", []string{"Sec-Fetch-Site", "none"}, 303},
		{"a sister site", "POST", []string{"Sec-Fetch-Site", "same-site", "Origin", own}, 403},
		{"another site", "POST", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"another site, old browser", "POST", []string{"Origin", "https://evil.example"}, 403},
		{"no origin, old browser", "POST", []string{"Origin", "null"}, 403},
		{"another port, old browser", "POST", []string{"Origin", "https://127.0.0.1:1"}, 403},
		{"another site deletes", "DELETE", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"another site reads", "GET", []string{"Sec-Fetch-Site", "cross-site", "Accept", "text/html"}, 405},
	} {
		b := r.browser("ann-"+strings.NewReplacer(" ", "-", ",", "").Replace(c.name), access.Admin)
		a := b.do(c.method, "/logout", "", c.headers...)
		if a.StatusCode != c.want {
			t.Errorf("%s: %d, want %d: %s", c.name, a.StatusCode, c.want, a.body)
		}
		if _, _, err := r.store.SessionByHash(t.Context(), HashSecret(b.cookie)); (err == nil) == (c.want == 303) {
			t.Errorf("%s: signed out %v", c.name, err != nil)
		}
		if c.want == 403 && a.problem(t).Code != codeCrossOrigin {
			t.Errorf("%s: %s", c.name, a.body)
		}
	}
}

// TestHeaders looks at every kind of answer: pages, fragments, JSON, problems,
// redirects, and refusals before the routes.
func TestHeaders(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("pc", store.Active)
	b := r.browser("ann", access.Admin)
	for _, c := range []struct {
		path    string
		headers []string
	}{
		{"/devices", nil},
		{"/devices", []string{"HX-Request", "true", "HX-Target", "list"}},
		{"/devices/" + d.ID + "/summary", nil},
		{"/api/devices", nil},
		{"/api/nothing", nil},
		{"/nothing", []string{"Accept", "text/html"}},
		{"/", nil},
		{"/login", nil},
		{"/healthz", nil},
		{"/devices", []string{"Host", "evil.example"}},
	} {
		a := b.do(http.MethodGet, c.path, "", c.headers...)
		for name, want := range map[string]string{
			"Content-Security-Policy":      policy,
			"X-Content-Type-Options":       "nosniff",
			"X-Frame-Options":              "DENY",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Permissions-Policy":           permissions,
			"Cache-Control":                "no-store",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s %v: %s is %q, want %q", c.path, c.headers, name, got, want)
			}
		}
	}
	if strings.Contains(policy, "unsafe") || !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("the policy is %s", policy)
	}
}

// TestStaticFiles shows that the files of a page are public and kept by browsers.
func TestStaticFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	page := r.stranger().do(http.MethodGet, "/login", "").body
	_, rest, found := strings.Cut(page, `href="/_s/`)
	path, _, _ := strings.Cut(rest, `"`)
	if !found {
		t.Fatal("the sign-in page names no file")
	}
	a := r.stranger().do(http.MethodGet, "/_s/"+path, "")
	if a.StatusCode != http.StatusOK || !strings.Contains(a.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("%s: %d %s", path, a.StatusCode, a.Header.Get("Cache-Control"))
	}
}

func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mux.Get("/login/panic", func(http.ResponseWriter, *http.Request) { panic("secret of the handler") })
	a := r.browser("ann", access.Admin).do(http.MethodGet, "/login/panic", "")
	if a.problem(t).Code != codeInternal || strings.Contains(a.body, "secret") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if !strings.Contains(r.logs.String(), "secret of the handler") {
		t.Error("the panic is not in the log")
	}
}
