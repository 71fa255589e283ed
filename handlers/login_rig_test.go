package handlers

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"borealis/handlers/factor"
	"borealis/store"
	"borealis/tunnel/keys/seal"

	"github.com/descope/virtualwebauthn"
	"github.com/pquerna/otp/totp"
)

// factorRig is a rig that asks for second factors as a policy says.
func factorRig(t *testing.T, policy string) *rig {
	t.Helper()
	return newRigWith(t, func(c *Config) { c.StepUp, c.Box = policy, seal.New([32]byte{2}) })
}

// patient lets a test fail more often than a person may.
func (r *rig) patient() {
	for _, t := range []*throttle{r.sources, r.names} {
		t.mu.Lock()
		t.burst = time.Hour
		t.mu.Unlock()
	}
}

// A surfer is a browser with all its cookies, which calls the console localhost.
type surfer struct {
	*client

	jar map[string]string
}

func (r *rig) surfer() *surfer {
	return &surfer{r.stranger(), make(map[string]string)}
}

// visit makes a request as a page of the console does.
func (v *surfer) visit(method, path, body string, headers ...string) answer {
	v.rig.t.Helper()
	r := v.request(method, path, body, append([]string{"Host", "localhost", "Sec-Fetch-Site", "same-origin"}, headers...)...)
	for name, value := range v.jar {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	a := v.send(r)
	for _, c := range a.Cookies() {
		if c.MaxAge < 0 {
			delete(v.jar, c.Name)
		} else {
			v.jar[c.Name] = c.Value
		}
	}
	return a
}

func (v *surfer) get(path string) answer {
	v.rig.t.Helper()
	return v.visit(http.MethodGet, path, "", "Accept", "text/html")
}

// fill sends a form; fields come in pairs.
func (v *surfer) fill(path string, fields ...string) answer {
	v.rig.t.Helper()
	values := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		values.Set(fields[i], fields[i+1])
	}
	return v.visit(http.MethodPost, path, values.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html")
}

// json sends what a script sends.
func (v *surfer) json(path string, body any) answer {
	v.rig.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		v.rig.t.Fatal(err)
	}
	return v.visit(http.MethodPost, path, string(b), "Content-Type", "application/json", "Accept", "application/json")
}

// session is the session of the surfer's cookie.
func (v *surfer) session() store.Session {
	v.rig.t.Helper()
	one, _, err := v.rig.store.SessionByHash(v.rig.t.Context(), HashSecret(v.jar[sessionCookie]))
	if err != nil {
		v.rig.t.Fatal(err)
	}
	return one
}

// signedIn gives the surfer a session of an operator.
func (v *surfer) signedIn(o store.Operator, one store.Session) *surfer {
	v.rig.t.Helper()
	if one.ExpiresAt.IsZero() {
		one.ExpiresAt = time.Now().Add(sessionLife)
	}
	v.jar[sessionCookie] = v.rig.session(o, one)
	return v
}

// goesTo checks that an answer leads somewhere.
func goesTo(t *testing.T, a answer, path string) {
	t.Helper()
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != path {
		t.Fatalf("%s %s: %d to %q, want to %q: %.300s", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.Header.Get("Location"), path, a.body)
	}
}

// app gives an operator an authenticator app and returns its secret.
func (r *rig) app(o store.Operator) (secret string) {
	r.t.Helper()
	secret = factor.NewTOTP()
	if err := r.store.SetTOTP(r.t.Context(), o.ID, r.config.Box.Seal(totpPurpose(o.ID), []byte(secret)), 0, prepared); err != nil {
		r.t.Fatal(err)
	}
	return secret
}

// codeOf is what an app shows now, or some steps from now.
func codeOf(t *testing.T, secret string, steps int) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, time.Now().Add(time.Duration(steps)*30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// wrongCode is six digits that the app does not show.
func wrongCode(t *testing.T, secret string) string {
	t.Helper()
	for _, code := range []string{"000000", "111111", "222222", "333333", "444444", "555555"} {
		if _, right := factor.CheckTOTP(secret, code, time.Now()); !right {
			return code
		}
	}
	t.Fatal("every code is right")
	return ""
}

// recovery gives an operator recovery codes.
func (r *rig) recovery(o store.Operator) (codes []string) {
	r.t.Helper()
	codes = factor.NewRecoveryCodes()
	hashes := make([][32]byte, len(codes))
	for i, code := range codes {
		hashes[i], _ = factor.RecoveryHash(o.ID, code)
	}
	if err := r.store.SetRecoveryCodes(r.t.Context(), o.ID, hashes, prepared); err != nil {
		r.t.Fatal(err)
	}
	return codes
}

// A phone is an authenticator with one key, and the browser that uses it.
type phone struct {
	virtualwebauthn.Authenticator

	site virtualwebauthn.RelyingParty
	key  virtualwebauthn.Credential
}

func newPhone() *phone {
	return &phone{
		virtualwebauthn.NewAuthenticator(),
		virtualwebauthn.RelyingParty{ID: "localhost", Name: "Borealis", Origin: "https://localhost"},
		newKey(),
	}
}

// newKey is a key whose coordinates have all their bytes: the library leaves leading
// zeros out, which no authenticator does and nobody may take.
func newKey() virtualwebauthn.Credential {
	const whole = 77 // bytes in COSE
	for {
		if key := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2); len(key.Key.AttestationData()) == whole {
			return key
		}
	}
}

// create answers the options of a new passkey.
func (p *phone) create(t *testing.T, options answer) json.RawMessage {
	t.Helper()
	if options.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", options.Request.URL.Path, options.StatusCode, options.body)
	}
	asks, err := virtualwebauthn.ParseAttestationOptions(options.body)
	if err != nil {
		t.Fatal(err)
	}
	p.Options.UserHandle = []byte(asks.UserID)
	return json.RawMessage(virtualwebauthn.CreateAttestationResponse(p.site, p.Authenticator, p.key, *asks))
}

// get answers the options of a passkey that is there.
func (p *phone) get(t *testing.T, options answer) json.RawMessage {
	t.Helper()
	if options.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", options.Request.URL.Path, options.StatusCode, options.body)
	}
	asks, err := virtualwebauthn.ParseAssertionOptions(options.body)
	if err != nil {
		t.Fatal(err)
	}
	p.key.Counter++
	return json.RawMessage(virtualwebauthn.CreateAssertionResponse(p.site, p.Authenticator, p.key, *asks))
}

// passkey gives an operator a passkey on a phone, by way of the console.
func (r *rig) passkey(o store.Operator, p *phone) {
	r.t.Helper()
	v := r.surfer().signedIn(o, store.Session{VerifiedAt: time.Now()})
	options := v.json("/account/passkeys/options", map[string]string{"password": testPassword})
	if a := v.json("/account/passkeys", map[string]any{"name": "phone", "credential": p.create(r.t, options)}); a.StatusCode != http.StatusOK {
		r.t.Fatalf("%d %s", a.StatusCode, a.body)
	}
}

// refusals are the reasons of what was refused, oldest first, by kind.
func (r *rig) reasons(kind string) string {
	r.t.Helper()
	lines, err := r.store.Records(r.t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, Kind: kind, Limit: store.MaxPage})
	if err != nil {
		r.t.Fatal(err)
	}
	var reasons []string
	for i := range lines {
		reasons = append(reasons, lines[len(lines)-1-i].Reason)
	}
	return strings.Join(reasons, " ")
}
