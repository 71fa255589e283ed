package factor

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/descope/virtualwebauthn"
)

const (
	testHost   = "console.example"
	testOrigin = "https://console.example:8443"
)

// A phone is an authenticator with one key, and the browser that uses it.
type phone struct {
	virtualwebauthn.Authenticator

	site virtualwebauthn.RelyingParty
	key  virtualwebauthn.Credential
}

func newPhone() *phone {
	return &phone{
		Authenticator: virtualwebauthn.NewAuthenticator(),
		site:          virtualwebauthn.RelyingParty{ID: testHost, Name: "Borealis", Origin: testOrigin},
		key:           newKey(),
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

// create answers what Register asks.
func (p *phone) create(t *testing.T, ask any) []byte {
	t.Helper()
	options, err := virtualwebauthn.ParseAttestationOptions(text(t, ask))
	if err != nil {
		t.Fatal(err)
	}
	p.Options.UserHandle = []byte(options.UserID)
	return []byte(virtualwebauthn.CreateAttestationResponse(p.site, p.Authenticator, p.key, *options))
}

// get answers what Prove asks.
func (p *phone) get(t *testing.T, ask any) []byte {
	t.Helper()
	options, err := virtualwebauthn.ParseAssertionOptions(text(t, ask))
	if err != nil {
		t.Fatal(err)
	}
	p.key.Counter++
	return []byte(virtualwebauthn.CreateAssertionResponse(p.site, p.Authenticator, p.key, *options))
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func testPasskeys(t *testing.T) *Passkeys {
	t.Helper()
	keys, err := NewPasskeys(testHost, testOrigin)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// register makes a passkey of an operator on a phone.
func register(t *testing.T, keys *Passkeys, p *phone, o Owner) Owner {
	t.Helper()
	ask, c, err := keys.Register(o)
	if err != nil {
		t.Fatal(err)
	}
	made, err := keys.Registered(o, c, p.create(t, ask))
	if err != nil {
		t.Fatal(err)
	}
	if string(made.ID) != string(p.key.ID) {
		t.Fatalf("the passkey is %x, want %x", made.ID, p.key.ID)
	}
	o.Stored = append(o.Stored, made.Stored)
	return o
}

func owned(o Owner) func([]byte) (Owner, error) {
	return func([]byte) (Owner, error) { return o, nil }
}

func TestPasskey(t *testing.T) {
	t.Parallel()
	keys, p := testPasskeys(t), newPhone()
	o := register(t, keys, p, Owner{ID: "1", Name: "ann"})
	for _, asked := range []Owner{o, {}} { // by somebody who is known, and by whoever is there
		ask, c, err := keys.Prove(asked)
		if err != nil {
			t.Fatal(err)
		}
		used, err := keys.Proven(c, p.get(t, ask), owned(o))
		if err != nil {
			t.Fatal(err)
		}
		o.Stored = [][]byte{used.Stored}
	}
	var has struct {
		Authenticator struct {
			SignCount uint32 `json:"signCount"`
		} `json:"authenticator"`
	}
	if err := json.Unmarshal(o.Stored[0], &has); err != nil || has.Authenticator.SignCount != 2 {
		t.Errorf("the counter is %d %v, want 2", has.Authenticator.SignCount, err)
	}
}

// TestPasskeyAsks: a passkey is made to be found by the browser, and nobody uses one
// without PIN or biometrics.
func TestPasskeyAsks(t *testing.T) {
	t.Parallel()
	keys := testPasskeys(t)
	o := register(t, keys, newPhone(), Owner{ID: "1", Name: "ann"})
	create, _, err := keys.Register(o)
	if err != nil {
		t.Fatal(err)
	}
	get, _, err := keys.Prove(o)
	if err != nil {
		t.Fatal(err)
	}
	var asks struct {
		PublicKey struct {
			RP struct {
				ID string `json:"id"`
			} `json:"rp"`
			RPID                   string `json:"rpId"`
			UserVerification       string `json:"userVerification"`
			Challenge              string `json:"challenge"`
			ExcludeCredentials     []any  `json:"excludeCredentials"`
			AllowCredentials       []any  `json:"allowCredentials"`
			AuthenticatorSelection struct {
				ResidentKey      string `json:"residentKey"`
				UserVerification string `json:"userVerification"`
			} `json:"authenticatorSelection"`
		} `json:"publicKey"`
	}
	if err := json.Unmarshal([]byte(text(t, create)), &asks); err != nil {
		t.Fatal(err)
	}
	k := asks.PublicKey
	if k.RP.ID != testHost || k.AuthenticatorSelection.UserVerification != "required" || k.AuthenticatorSelection.ResidentKey != "required" || len(k.ExcludeCredentials) != 1 {
		t.Errorf("a new one is asked for with %s", text(t, create))
	}
	if err := json.Unmarshal([]byte(text(t, get)), &asks); err != nil {
		t.Fatal(err)
	}
	k = asks.PublicKey
	if k.RPID != testHost || k.UserVerification != "required" || len(k.AllowCredentials) != 1 || len(k.Challenge) < 22 {
		t.Errorf("one is asked for with %s", text(t, get))
	}
}

func TestPasskeyRefused(t *testing.T) {
	t.Parallel()
	errNobody := errors.New("nobody has it")
	for name, c := range map[string]struct {
		change func(p *phone)
		answer func(answer []byte) []byte
		owner  func(o Owner) func([]byte) (Owner, error)
		want   error
	}{
		"wrong origin":    {change: func(p *phone) { p.site.Origin = "https://console.example.evil.example" }},
		"other port":      {change: func(p *phone) { p.site.Origin = "https://console.example" }},
		"wrong host":      {change: func(p *phone) { p.site.ID = "evil.example" }},
		"user not there":  {change: func(p *phone) { p.Options.UserNotPresent = true }},
		"user not proven": {change: func(p *phone) { p.Options.UserNotVerified = true }},
		"other key":       {change: func(p *phone) { p.key.Key = newKey().Key }},
		"other user":      {change: func(p *phone) { p.Options.UserHandle = []byte("2") }},
		"backed up now":   {change: func(p *phone) { p.Options.BackupEligible = true }},
		"cloned":          {change: func(p *phone) { p.key.Counter = 3 }, want: ErrCloned},
		"no JSON":         {answer: func([]byte) []byte { return []byte("{") }},
		"nothing":         {answer: func([]byte) []byte { return nil }},
		"unknown": {owner: func(Owner) func([]byte) (Owner, error) {
			return func([]byte) (Owner, error) { return Owner{}, errNobody }
		}, want: errNobody},
		"other operator's": {owner: func(o Owner) func([]byte) (Owner, error) { o.ID = "2"; return owned(o) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, p := testPasskeys(t), newPhone()
			o := register(t, keys, p, Owner{ID: "1", Name: "ann"})
			p.key.Counter = 6
			ask, challenge, err := keys.Prove(o)
			if err != nil {
				t.Fatal(err)
			}
			used, err := keys.Proven(challenge, p.get(t, ask), owned(o)) // the counter is 7 now
			if err != nil {
				t.Fatal(err)
			}
			o.Stored = [][]byte{used.Stored}
			of := owned(o)
			if c.owner != nil {
				of = c.owner(o)
			}
			if c.change != nil {
				c.change(p)
			}
			if c.want == nil {
				c.want = ErrPasskey
			}
			for _, asked := range []Owner{o, {}} {
				ask, challenge, err := keys.Prove(asked)
				if err != nil {
					t.Fatal(err)
				}
				answer := p.get(t, ask)
				if c.answer != nil {
					answer = c.answer(answer)
				}
				if _, err := keys.Proven(challenge, answer, of); !errors.Is(err, c.want) {
					t.Errorf("asked as %q: %v, want %v", asked.ID, err, c.want)
				}
			}
		})
	}
}

// TestPasskeyOfAnotherChallenge: what was signed for one challenge answers no other.
func TestPasskeyOfAnotherChallenge(t *testing.T) {
	t.Parallel()
	keys, p := testPasskeys(t), newPhone()
	o := register(t, keys, p, Owner{ID: "1", Name: "ann"})
	first, _, err := keys.Prove(o)
	if err != nil {
		t.Fatal(err)
	}
	_, second, err := keys.Prove(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Proven(second, p.get(t, first), owned(o)); !errors.Is(err, ErrPasskey) {
		t.Error(err)
	}
}

func TestPasskeyTakesTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keys, p := testPasskeys(t), newPhone()
		o := register(t, keys, p, Owner{ID: "1", Name: "ann"})
		ask, c, err := keys.Prove(o)
		if err != nil {
			t.Fatal(err)
		}
		create, made, err := keys.Register(o)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(ChallengeLife + time.Second) // of the bubble's clock
		if _, err := keys.Proven(c, p.get(t, ask), owned(o)); !errors.Is(err, ErrPasskey) {
			t.Error("proven:", err)
		}
		if _, err := keys.Registered(o, made, p.create(t, create)); !errors.Is(err, ErrPasskey) {
			t.Error("registered:", err)
		}
	})
}

func TestPasskeyRegistrationRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(p *phone){
		"wrong origin":    func(p *phone) { p.site.Origin = "https://evil.example" },
		"wrong host":      func(p *phone) { p.site.ID = "evil.example" },
		"user not there":  func(p *phone) { p.Options.UserNotPresent = true },
		"user not proven": func(p *phone) { p.Options.UserNotVerified = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, p, o := testPasskeys(t), newPhone(), Owner{ID: "1", Name: "ann"}
			ask, c, err := keys.Register(o)
			if err != nil {
				t.Fatal(err)
			}
			change(p)
			if _, err := keys.Registered(o, c, p.create(t, ask)); !errors.Is(err, ErrPasskey) {
				t.Error(err)
			}
		})
	}
}

// TestPasskeyHosts: a passkey belongs to a domain name.
func TestPasskeyHosts(t *testing.T) {
	t.Parallel()
	for host, ok := range map[string]bool{
		"console.example": true, "localhost": true,
		"engine": false, "192.0.2.1": false, "::1": false, "": false, "a b": false, "console.example:8443": false,
	} {
		if _, err := NewPasskeys(host, "https://"+host); (err == nil) != ok {
			t.Errorf("%q: %v, want %v", host, err, ok)
		}
	}
}

func TestDamagedStoredPasskey(t *testing.T) {
	t.Parallel()
	keys, o := testPasskeys(t), Owner{ID: "1", Name: "ann", Stored: [][]byte{[]byte("{")}}
	if _, _, err := keys.Register(o); err == nil {
		t.Error("a new one is asked for")
	}
	if _, _, err := keys.Prove(o); err == nil {
		t.Error("one is asked for")
	}
}

// FuzzPasskeyAnswer: nothing that a browser can send proves anything or breaks
// anything, but for the one answer to the challenge.
func FuzzPasskeyAnswer(f *testing.F) {
	keys, err := NewPasskeys(testHost, testOrigin)
	if err != nil {
		f.Fatal(err)
	}
	p, o := newPhone(), Owner{ID: "1", Name: "ann"}
	ask, made, err := keys.Register(o)
	if err != nil {
		f.Fatal(err)
	}
	b, err := json.Marshal(ask)
	if err != nil {
		f.Fatal(err)
	}
	options, err := virtualwebauthn.ParseAttestationOptions(string(b))
	if err != nil {
		f.Fatal(err)
	}
	answer := virtualwebauthn.CreateAttestationResponse(p.site, p.Authenticator, p.key, *options)
	k, err := keys.Registered(o, made, []byte(answer))
	if err != nil {
		f.Fatal(err)
	}
	o.Stored = [][]byte{k.Stored}
	_, again, err := keys.Register(Owner{ID: "1", Name: "ann"})
	if err != nil {
		f.Fatal(err)
	}
	_, proof, err := keys.Prove(o)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(answer))
	f.Add([]byte(virtualwebauthn.CreateAssertionResponse(p.site, p.Authenticator, p.key, virtualwebauthn.AssertionOptions{Challenge: []byte("other")})))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if _, err := keys.Registered(o, again, answer); err == nil {
			t.Error("registered")
		}
		if _, err := keys.Proven(proof, answer, owned(o)); err == nil {
			t.Error("proven")
		}
	})
}
