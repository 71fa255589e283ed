package handlers

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"borealis/handlers/access"
	"borealis/handlers/oidc"
	"borealis/store"
	"borealis/tunnel/keys/seal"

	"github.com/oauth2-proxy/mockoidc"
)

// oidcRig is a rig with an identity provider on loopback, which may make operators and
// viewers.
func oidcRig(t *testing.T, change ...func(*oidc.Config)) (*rig, *mockoidc.MockOIDC) {
	t.Helper()
	there, err := mockoidc.NewServer(nil)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := there.Start(listener, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Server.Close() })
	c := &oidc.Config{
		Issuer: there.Issuer(), ClientID: there.ClientID, ClientSecret: there.ClientSecret, Name: "Example ID",
		RoleClaim: "groups", Roles: map[string]string{"shells": access.Operator, "eyes": access.Viewer}, Scopes: []string{"groups"},
	}
	for _, f := range change {
		f(c)
	}
	return newRigWith(t, func(all *Config) { all.OIDC, all.StepUp, all.Box = c, stepUpSession, seal.New([32]byte{2}) }), there
}

func member(subject, name string, groups ...string) *mockoidc.MockUser {
	return &mockoidc.MockUser{Subject: subject, PreferredUsername: name, Email: name + "@example.com", Groups: groups}
}

// toProvider goes to the provider's page and returns the path with which the provider
// sends the browser back.
func (v *surfer) toProvider(there *mockoidc.MockOIDC, who mockoidc.User, next string) string {
	t := v.rig.t
	t.Helper()
	a := v.get("/login/oidc?next=" + url.QueryEscape(next))
	if a.StatusCode != http.StatusSeeOther {
		t.Fatalf("to the provider: %d %.300s", a.StatusCode, a.body)
	}
	there.QueueUser(who)
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.Header.Get("Location"), nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	back, err := answer.Location()
	if err != nil {
		t.Fatalf("%s: %v", answer.Status, err)
	}
	if back.Host != "localhost" || back.Path != callbackPath {
		t.Fatalf("the provider sends the browser to %s", back)
	}
	return back.RequestURI()
}

// fromProvider comes from the provider's page as browsers do.
func (v *surfer) fromProvider(path string) answer {
	v.rig.t.Helper()
	return v.visit(http.MethodGet, path, "", "Accept", "text/html", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate")
}

func (v *surfer) byProvider(there *mockoidc.MockOIDC, who mockoidc.User, next string) answer {
	v.rig.t.Helper()
	return v.fromProvider(v.toProvider(there, who, next))
}

func TestProviderSignIn(t *testing.T) {
	t.Parallel()
	r, there := oidcRig(t)
	v := r.surfer()
	if a := v.get("/login?next=/tunnels"); !strings.Contains(a.body, "Sign in with Example ID") || !strings.Contains(a.body, "/login/oidc?next=%2Ftunnels") {
		t.Fatalf("the sign-in page: %s", a.body)
	}
	back := v.toProvider(there, member("s-1", "ann", "shells"), "/tunnels?a=b")
	a := v.fromProvider(back)
	if a.StatusCode != http.StatusOK || !strings.Contains(a.body, `http-equiv="refresh" content="0;url=/tunnels?a=b"`) {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if header := strings.Join(a.Header.Values("Set-Cookie"), "\n"); !strings.Contains(header, sessionCookie+"=") || !strings.Contains(header, "SameSite=Strict") {
		t.Errorf("the cookies are %s", header)
	}
	one := v.session()
	ann, err := r.store.OperatorByName(t.Context(), "ann")
	if err != nil || ann.Role != access.Operator || ann.PasswordHash != "" || one.OperatorID != ann.ID || one.Method != store.ByOIDC || !one.VerifiedAt.IsZero() {
		t.Errorf("%+v %+v %v", ann, one, err)
	}
	if len(v.jar) != 1 {
		t.Errorf("cookies are left: %v", v.jar)
	}
	if a := v.get("/account"); a.StatusCode != http.StatusOK || strings.Contains(a.body, "password-change") || strings.Contains(a.body, `name="password"`) {
		t.Errorf("the account: %d", a.StatusCode)
	}
	// The step that opens terminals stays here, whatever the provider has asked for.
	p, err := r.resume(t.Context(), v.jar[sessionCookie])
	if err != nil {
		t.Fatal(err)
	}
	if err := r.stepUp(t.Context(), p); problemOf(err).Code != codeSecondFactor {
		t.Errorf("a terminal: %v", err)
	}
	// What came back works once, here and in another browser.
	if a := v.fromProvider(back); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("replayed: %d", a.StatusCode)
	}
	if a := r.surfer().fromProvider(back); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("in another browser: %d", a.StatusCode)
	}
	if a := r.surfer().fill("/login", "name", "ann", "password", ""); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a password that nobody has: %d", a.StatusCode)
	}
	if got := strings.Join(r.kinds(), " "); got != "operator_added signed_in sign_in_failed" {
		t.Errorf("on record: %s", got)
	}
	if strings.Contains(r.logs.String(), there.ClientSecret) {
		t.Error("the client's secret is in the log")
	}
}

// TestProviderKnowsPeopleBySubject and by nothing that somebody could choose.
func TestProviderKnowsPeopleBySubject(t *testing.T) {
	t.Parallel()
	r, there := oidcRig(t)
	admin := r.person("ann") // an administrator with a password, who has nothing to do with it
	boss := r.operatorWith("boss@example.com", access.Admin)
	v := r.surfer()
	v.byProvider(there, member("s-1", "ann", "shells"), "")
	first := v.session().OperatorID
	o, err := r.store.Operator(t.Context(), first)
	if err != nil || first == admin.ID || o.Name != "ann-2" || o.Role != access.Operator {
		t.Fatalf("%+v %v", o, err)
	}
	v = r.surfer()
	v.byProvider(there, &mockoidc.MockUser{Subject: "s-2", Email: boss.Name, EmailVerified: true, Groups: []string{"eyes"}}, "")
	if o, err := r.store.Operator(t.Context(), v.session().OperatorID); err != nil || o.ID == boss.ID || o.Name != "boss@example.com-2" || o.Role != access.Viewer {
		t.Errorf("by an administrator's e-mail: %+v %v", o, err)
	}
	v = r.surfer()
	v.byProvider(there, member("s-1", "renamed", "shells"), "")
	if v.session().OperatorID != first {
		t.Error("the same person under another name is somebody else")
	}
	v = r.surfer()
	v.byProvider(there, member("s-3", "console", "shells"), "")
	if o, err := r.store.Operator(t.Context(), v.session().OperatorID); err != nil || o.Name != "console-2" {
		t.Errorf("by the name of what is done on the host: %+v %v", o, err)
	}
}

// TestProviderRoles follow the claim at each sign-in.
func TestProviderRoles(t *testing.T) {
	t.Parallel()
	r, there := oidcRig(t)
	r.patient()
	v := r.surfer()
	v.byProvider(there, member("s-1", "ann", "shells", "eyes"), "")
	id := v.session().OperatorID
	for _, c := range []struct {
		groups []string
		want   string // role after it
		in     bool
	}{
		{[]string{"shells"}, access.Operator, true},
		{[]string{"eyes"}, access.Viewer, true},
		{[]string{"eyes"}, access.Viewer, true},
		{[]string{"staff", "admin"}, access.Viewer, false},
		{nil, access.Viewer, false},
		{[]string{"shells"}, access.Operator, true},
	} {
		v := r.surfer()
		a := v.byProvider(there, member("s-1", "ann", c.groups...), "")
		o, err := r.store.Operator(t.Context(), id)
		if err != nil || o.Role != c.want || (v.jar[sessionCookie] != "") != c.in {
			t.Errorf("%v: %+v %v, signed in %v", c.groups, o, err, v.jar[sessionCookie] != "")
		}
		if !c.in && (a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "does not say that ann may use this console")) {
			t.Errorf("%v: %d %.400s", c.groups, a.StatusCode, a.body)
		}
	}
	if n := strings.Count(strings.Join(r.kinds(), " "), "operator_changed"); n != 2 {
		t.Errorf("the role was changed %d times: %v", n, r.kinds())
	}
	v = r.surfer()
	if v.byProvider(there, member("s-9", "eve", "staff"), ""); v.jar[sessionCookie] != "" {
		t.Error("somebody without a role is signed in")
	}
	if _, err := r.store.OperatorByName(t.Context(), "eve"); err == nil {
		t.Error("somebody without a role is an operator")
	}
	if got := r.reasons("sign_in_failed"); got != "oidc oidc oidc" {
		t.Errorf("the reasons are %q", got)
	}
}

func TestProviderSites(t *testing.T) {
	t.Parallel()
	r, there := oidcRig(t, func(c *oidc.Config) { c.SitesClaim = "email" }) // a claim that this provider can send
	v := r.surfer()
	v.byProvider(there, &mockoidc.MockUser{Subject: "s-1", PreferredUsername: "ann", Email: "Oslo", Groups: []string{"shells"}}, "")
	if o, err := r.store.Operator(t.Context(), v.session().OperatorID); err != nil || len(o.Sites) != 1 || o.Sites[0] != "Oslo" {
		t.Errorf("%+v %v", o, err)
	}
	v = r.surfer()
	a := v.byProvider(there, &mockoidc.MockUser{Subject: "s-2", PreferredUsername: "bob", Groups: []string{"shells"}}, "")
	if a.StatusCode != http.StatusForbidden || v.jar[sessionCookie] != "" {
		t.Errorf("without a site, which would be every site: %d", a.StatusCode)
	}
}

func TestProviderRefused(t *testing.T) {
	t.Parallel()
	r, there := oidcRig(t)
	r.patient()
	for name, change := range map[string]func(v *surfer, q url.Values){
		"wrong state":      func(_ *surfer, q url.Values) { q.Set("state", "x") },
		"wrong code":       func(_ *surfer, q url.Values) { q.Set("code", "x") },
		"refused there":    func(_ *surfer, q url.Values) { q.Set("error", "access_denied") },
		"no cookie":        func(v *surfer, _ url.Values) { delete(v.jar, flowCookie) },
		"another's cookie": func(v *surfer, _ url.Values) { v.jar[flowCookie] = newSecret() },
	} {
		v := r.surfer()
		path, query, _ := strings.Cut(v.toProvider(there, member("s-1", "ann", "shells"), ""), "?")
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		change(v, q)
		if a := v.fromProvider(path + "?" + q.Encode()); a.StatusCode != http.StatusUnauthorized || v.jar[sessionCookie] != "" || !strings.Contains(a.body, "sign-in-form") {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
	}
	if _, err := r.store.OperatorByName(t.Context(), "ann"); err == nil {
		t.Error("there is an operator")
	}
}

func TestProviderLocked(t *testing.T) {
	t.Parallel()
	r, there := oidcRig(t)
	r.person("admin")
	v := r.surfer()
	v.byProvider(there, member("s-1", "ann", "shells"), "")
	if err := r.store.AddLock(t.Context(), store.Lock{Kind: store.LockOperator, Target: v.session().OperatorID, Reason: "left"}, prepared); err != nil {
		t.Fatal(err)
	}
	v = r.surfer()
	if a := v.byProvider(there, member("s-1", "ann", "shells"), ""); a.StatusCode != http.StatusForbidden || v.jar[sessionCookie] != "" || !strings.Contains(a.body, "left") {
		t.Errorf("%d %.300s", a.StatusCode, a.body)
	}
}

// TestProviderDown: local sign-in works all the same, and the page says what is wrong.
func TestProviderDown(t *testing.T) {
	t.Parallel()
	r, there := oidcRig(t)
	r.person("ann")
	there.Server.Close()
	v := r.surfer()
	if a := v.get("/login/oidc"); a.StatusCode != http.StatusServiceUnavailable || !strings.Contains(a.body, "Example ID does not answer") || !strings.Contains(a.body, "sign-in-form") {
		t.Errorf("%d %.300s", a.StatusCode, a.body)
	}
	goesTo(t, v.fill("/login", "name", "ann", "password", testPassword), "/devices")
}

func TestNoProvider(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v := r.surfer()
	if a := v.get("/login"); strings.Contains(a.body, "sign-in-oidc") {
		t.Error("a provider is offered")
	}
	if a := v.get("/login/oidc"); a.StatusCode != http.StatusNotFound {
		t.Errorf("%d", a.StatusCode)
	}
	if a := v.get(callbackPath + "?code=x&state=y"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("%d", a.StatusCode)
	}
}

// TestProviderMakesNoAdministrators, nor anything that does not exist.
func TestProviderMakesNoAdministrators(t *testing.T) {
	t.Parallel()
	for role, ok := range map[string]bool{access.Viewer: true, access.Operator: true, access.Auditor: true, access.Admin: false, "root": false, "": false} {
		c := Config{OIDC: &oidc.Config{Issuer: "https://id.example.com", ClientID: "x", RoleClaim: "groups", Roles: map[string]string{"staff": role}}}
		if _, err := newSignIns(c); (err == nil) != ok {
			t.Errorf("%q: %v", role, err)
		}
	}
}

func TestOperatorNames(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"ann": "ann", "Ann Ås": "Ann--s", "ann@example.com": "ann@example.com", "": "operator", "–—": "operator",
		"<script>": "script", "a\x00b": "ab", strings.Repeat("x", 100): strings.Repeat("x", maxBaseName),
	} {
		if got := operatorName(said); got != want {
			t.Errorf("%q becomes %q, want %q", said, got, want)
		}
	}
}
