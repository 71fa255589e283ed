package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oauth2-proxy/mockoidc"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const redirect = "https://localhost/login/oidc/callback"

// A person is somebody at the provider. Whatever change does to the ID token's claims
// is signed by the provider all the same.
type person struct {
	*mockoidc.MockUser

	change func(claims map[string]any)
}

func (p person) Claims(_ []string, token *mockoidc.IDTokenClaims) (jwt.Claims, error) {
	b, err := json.Marshal(token)
	if err != nil {
		return nil, err
	}
	var claims jwt.MapClaims
	if err := json.Unmarshal(b, &claims); err != nil {
		return nil, err
	}
	claims["preferred_username"], claims["email"], claims["groups"] = p.PreferredUsername, p.Email, p.Groups
	if p.change != nil {
		p.change(claims)
	}
	return claims, nil
}

func ann(change func(map[string]any)) person {
	return person{&mockoidc.MockUser{Subject: "ann-1", PreferredUsername: "ann", Email: "ann@example.com", Groups: []string{"staff", "shells"}}, change}
}

// A world is an identity provider on loopback, and the console's side of it.
type world struct {
	*Provider

	t      *testing.T
	there  *mockoidc.MockOIDC
	tokens func(answer map[string]any) // changes what the provider's token endpoint says
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	there, err := mockoidc.NewServer(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, there: there}
	if err := there.AddMiddleware(w.meddle); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(nil)
	if err := there.Start(server.Listener, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Server.Close() })
	c := Config{
		Issuer: there.Issuer(), ClientID: there.ClientID, ClientSecret: there.ClientSecret,
		RoleClaim: "groups", Roles: map[string]string{"shells": "operator", "eyes": "viewer"},
	}
	for _, f := range change {
		f(&c)
	}
	if w.Provider, err = New(c); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) meddle(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if w.tokens == nil || !strings.HasSuffix(r.URL.Path, "/token") {
			next.ServeHTTP(out, r)
			return
		}
		said := httptest.NewRecorder()
		next.ServeHTTP(said, r)
		var answer map[string]any
		if json.Unmarshal(said.Body.Bytes(), &answer) != nil || said.Code != http.StatusOK {
			out.WriteHeader(said.Code)
			_, _ = out.Write(said.Body.Bytes())
			return
		}
		w.tokens(answer)
		out.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(out).Encode(answer)
	})
}

// begin starts a sign-in and lets somebody through at the provider; it returns what the
// provider sends back.
func (w *world) begin(who mockoidc.User) (Flow, url.Values) {
	w.t.Helper()
	page, f, err := w.Begin(w.t.Context(), redirect)
	if err != nil {
		w.t.Fatal(err)
	}
	w.there.QueueUser(who)
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, page, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	answer, err := client.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	back, err := answer.Location()
	if err != nil {
		w.t.Fatalf("%s: %v", answer.Status, err)
	}
	if !strings.HasPrefix(back.String(), redirect+"?") {
		w.t.Fatalf("the provider sends the browser to %s", back)
	}
	return f, back.Query()
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f, answer := w.begin(ann(nil))
	who, err := w.Finish(t.Context(), f, answer)
	if err != nil {
		t.Fatal(err)
	}
	if who.Issuer != w.there.Issuer() || who.Subject != "ann-1" || who.Name != "ann" || !slices.Equal(who.Roles, []string{"operator"}) || who.Sites != nil {
		t.Errorf("%+v", who)
	}
}

// TestBegin: what the provider is asked has a state, a nonce and a challenge that are
// never the same, and no verifier.
func TestBegin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seen := make(map[string]bool)
	for range 2 {
		page, f, err := w.Begin(t.Context(), redirect)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(page)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		for _, name := range []string{"state", "nonce", "code_challenge"} {
			if v := q.Get(name); len(v) < 20 || seen[v] {
				t.Errorf("%s is %q", name, v)
			} else {
				seen[v] = true
			}
		}
		if q.Get("code_challenge_method") != "S256" || q.Get("response_type") != "code" || q.Get("redirect_uri") != redirect || strings.Contains(page, f.verifier) {
			t.Errorf("it asks %s", page)
		}
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(map[string]any)
		name   string
		roles  []string
		sites  []string
	}{
		"as it is":          {nil, "ann", []string{"operator"}, nil},
		"two roles":         {func(c map[string]any) { c["groups"] = []string{"shells", "eyes", "shells"} }, "ann", []string{"operator", "viewer"}, nil},
		"one text":          {func(c map[string]any) { c["groups"] = "eyes" }, "ann", []string{"viewer"}, nil},
		"no claim":          {func(c map[string]any) { delete(c, "groups") }, "ann", nil, nil},
		"another kind":      {func(c map[string]any) { c["groups"] = map[string]any{"shells": true} }, "ann", nil, nil},
		"numbers":           {func(c map[string]any) { c["groups"] = []any{1, nil, true} }, "ann", nil, nil},
		"a role's own name": {func(c map[string]any) { c["groups"] = []string{"operator", "admin"} }, "ann", nil, nil},
		"sites":             {func(c map[string]any) { c["sites"] = []string{"Oslo", "Bergen"} }, "ann", []string{"operator"}, []string{"Oslo", "Bergen"}},
		"e-mail as name":    {func(c map[string]any) { delete(c, "preferred_username") }, "ann@example.com", []string{"operator"}, nil},
		"no name":           {func(c map[string]any) { delete(c, "preferred_username"); delete(c, "email") }, "ann-1", []string{"operator"}, nil},
		"long name":         {func(c map[string]any) { c["preferred_username"] = strings.Repeat("x", 1000) }, "ann@example.com", []string{"operator"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) { c.SitesClaim = "sites" })
			f, answer := w.begin(ann(c.change))
			who, err := w.Finish(t.Context(), f, answer)
			if err != nil || who.Subject != "ann-1" || who.Name != c.name || !slices.Equal(who.Roles, c.roles) || !slices.Equal(who.Sites, c.sites) {
				t.Errorf("%+v %v", who, err)
			}
		})
	}
}

// TestRefused is what an attacker may bring, or another sign-in may have left.
func TestRefused(t *testing.T) {
	t.Parallel()
	claim := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	broken := func(f func(parts []string)) func(map[string]any) {
		return func(answer map[string]any) {
			parts := strings.Split(answer["id_token"].(string), ".")
			f(parts)
			answer["id_token"] = strings.Join(parts, ".")
		}
	}
	for name, c := range map[string]struct {
		claims func(map[string]any) // in the ID token, before it is signed
		tokens func(map[string]any) // in the answer of the token endpoint
		answer func(url.Values)     // in what the browser brings
	}{
		"wrong state":          {answer: func(q url.Values) { q.Set("state", "x") }},
		"no state":             {answer: func(q url.Values) { q.Del("state") }},
		"wrong code":           {answer: func(q url.Values) { q.Set("code", "x") }},
		"no code":              {answer: func(q url.Values) { q.Del("code") }},
		"refused by the user":  {answer: func(q url.Values) { q.Set("error", "access_denied") }},
		"of another provider":  {answer: func(q url.Values) { q.Set("iss", "https://evil.example") }},
		"other nonce":          {claims: claim("nonce", "x")},
		"no nonce":             {claims: func(c map[string]any) { delete(c, "nonce") }},
		"other audience":       {claims: claim("aud", "another-client")},
		"no audience":          {claims: func(c map[string]any) { delete(c, "aud") }},
		"other issuer":         {claims: claim("iss", "https://evil.example")},
		"expired":              {claims: claim("exp", time.Now().Add(-time.Minute).Unix())},
		"no expiry":            {claims: func(c map[string]any) { delete(c, "exp") }},
		"not yet":              {claims: claim("nbf", time.Now().Add(time.Hour).Unix())},
		"no subject":           {claims: claim("sub", "")},
		"endless subject":      {claims: claim("sub", strings.Repeat("x", maxText+1))},
		"no ID token":          {tokens: func(a map[string]any) { delete(a, "id_token") }},
		"ID token is no text":  {tokens: claim("id_token", 7)},
		"ID token is no token": {tokens: claim("id_token", "x.y.z")},
		"tampered with": {tokens: broken(func(parts []string) {
			parts[1] = parts[1][:10] + strings.Map(func(c rune) rune { return c ^ 1 }, parts[1][10:11]) + parts[1][11:]
		})},
		"other signature": {tokens: broken(func(parts []string) { parts[2] = strings.Repeat("A", len(parts[2])) })},
		"no signature":    {tokens: broken(func(parts []string) { parts[2] = "" })},
		"algorithm none": {tokens: broken(func(parts []string) {
			parts[0], parts[2] = "eyJhbGciOiJub25lIn0", ""
		})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.tokens = c.tokens
			f, answer := w.begin(ann(c.claims))
			if c.answer != nil {
				c.answer(answer)
			}
			if who, err := w.Finish(t.Context(), f, answer); !errors.Is(err, ErrRefused) {
				t.Errorf("%+v %v", who, err)
			}
		})
	}
}

// TestReplay: a code works once, and with the verifier of its own sign-in only.
func TestReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, theirs := w.begin(ann(nil))
	other, _ := w.begin(ann(nil))
	stolen := url.Values{"code": {theirs.Get("code")}, "state": {other.state}}
	if who, err := w.Finish(t.Context(), other, stolen); !errors.Is(err, ErrRefused) {
		t.Errorf("with another verifier: %+v %v", who, err)
	}
	f, answer := w.begin(ann(nil))
	if _, err := w.Finish(t.Context(), f, answer); err != nil {
		t.Fatal(err)
	}
	if who, err := w.Finish(t.Context(), f, answer); !errors.Is(err, ErrRefused) {
		t.Errorf("twice: %+v %v", who, err)
	}
	if who, err := w.Finish(t.Context(), Flow{}, url.Values{"code": {"x"}, "state": {""}}); !errors.Is(err, ErrRefused) {
		t.Errorf("without a sign-in: %+v %v", who, err)
	}
}

// TestKeyRotation: the provider may change its key at any time.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 2 {
		f, answer := w.begin(ann(nil))
		if _, err := w.Finish(t.Context(), f, answer); err != nil {
			t.Fatal(err)
		}
		fresh, err := mockoidc.RandomKeypair(2048)
		if err != nil {
			t.Fatal(err)
		}
		w.there.Keypair = fresh
	}
}

// TestUnavailable: a provider that is down is said to be, and is found once it is back.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	up := false
	var there *httptest.Server
	there = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !up:
			http.Error(w, "no", http.StatusBadGateway)
		case strings.HasSuffix(r.URL.Path, "/openid-configuration"):
			_ = json.NewEncoder(w).Encode(map[string]any{
				"issuer": there.URL, "authorization_endpoint": there.URL + "/a", "token_endpoint": there.URL + "/t", "jwks_uri": there.URL + "/k",
			})
		default:
			_, _ = w.Write(bytes.Repeat([]byte("x"), 2*maxAnswer))
		}
	}))
	defer there.Close()
	p, err := New(Config{Issuer: there.URL, ClientID: "x", RoleClaim: "groups", Roles: map[string]string{"a": "viewer"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Begin(t.Context(), redirect); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	up = true
	if _, _, err := p.Begin(t.Context(), redirect); !errors.Is(err, ErrUnavailable) {
		t.Error("it is asked again at once:", err)
	}
	p.tried = time.Now().Add(-retry)
	_, f, err := p.Begin(t.Context(), redirect)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Finish(t.Context(), f, url.Values{"state": {f.state}, "code": {"x"}}); !errors.Is(err, ErrUnavailable) {
		t.Error("an endless answer:", err)
	}
	there.Close()
	if _, err := p.Finish(t.Context(), f, url.Values{"state": {f.state}, "code": {"x"}}); !errors.Is(err, ErrUnavailable) {
		t.Error("gone again:", err)
	}
}

// TestImpostor: whoever answers in the provider's place under another name is not it.
func TestImpostor(t *testing.T) {
	t.Parallel()
	there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved/.well-known/openid-configuration" {
			http.Redirect(w, r, "/.well-known/openid-configuration", http.StatusFound)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": "https://evil.example"})
	}))
	defer there.Close()
	for _, issuer := range []string{there.URL, there.URL + "/moved"} {
		p, err := New(Config{Issuer: issuer, ClientID: "x", RoleClaim: "groups", Roles: map[string]string{"a": "viewer"}})
		if err != nil {
			t.Fatal(err)
		}
		if page, _, err := p.Begin(t.Context(), redirect); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %q %v", issuer, page, err)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := Config{Issuer: "https://id.example.com/realms/x", ClientID: "x", RoleClaim: "groups", Roles: map[string]string{"a": "viewer"}}
	for name, c := range map[string]struct {
		change func(*Config)
		ok     bool
	}{
		"good":         {func(*Config) {}, true},
		"loopback":     {func(c *Config) { c.Issuer = "http://127.0.0.1:9000" }, true},
		"localhost":    {func(c *Config) { c.Issuer = "http://localhost:9000" }, true},
		"plain http":   {func(c *Config) { c.Issuer = "http://id.example.com" }, false},
		"no host":      {func(c *Config) { c.Issuer = "https://" }, false},
		"nothing":      {func(c *Config) { c.Issuer = "" }, false},
		"not a URL":    {func(c *Config) { c.Issuer = "https://[" }, false},
		"file":         {func(c *Config) { c.Issuer = "file:///etc/passwd" }, false},
		"query":        {func(c *Config) { c.Issuer += "?a=b" }, false},
		"user":         {func(c *Config) { c.Issuer = "https://a:b@id.example.com" }, false},
		"no client":    {func(c *Config) { c.ClientID = "" }, false},
		"no claim":     {func(c *Config) { c.RoleClaim = "" }, false},
		"no roles":     {func(c *Config) { c.Roles = nil }, false},
		"no secret":    {func(c *Config) { c.ClientSecret = "" }, true},
		"named":        {func(c *Config) { c.Name = "Example ID" }, true},
		"other scopes": {func(c *Config) { c.Scopes = []string{"groups"} }, true},
	} {
		conf := good
		c.change(&conf)
		if _, err := New(conf); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if good.Title() != "id.example.com" {
		t.Errorf("it is called %s", good.Title())
	}
}
