package views

import (
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"
	"golang.org/x/net/html"
)

// isQR reports whether an element is the only image there is: one that the engine has
// drawn, inside the page.
func isQR(n *html.Node) bool {
	src, _ := attribute(n, "src")
	class, _ := attribute(n, "class")
	return n.Data == "img" && class == "qr" && strings.HasPrefix(src, "data:image/png;base64,")
}

func cannedAccount() Account {
	return Account{
		Now: now, Name: "nora", Role: "operator", Sites: []string{"Oslo", "Bergen"}, HasPassword: true, TOTP: true, CanTOTP: true,
		Passkeys: []Passkey{{ID: "k1", Name: "Laptop", Host: "console.example", AddedAt: now.Add(-time.Hour), UsedAt: now}, {ID: "k2", Name: "Phone", Host: "other.example"}},
		Host:     "console.example", CalledBy: "console.example", RecoveryLeft: 7,
		Sessions: []OperatorSession{
			{ID: "s1", Method: "password", Address: "192.0.2.7", Agent: "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", CreatedAt: now, SeenAt: now, Verified: now, You: true},
			{ID: "s2", Method: "oidc", Agent: "curl"},
			{ID: "s3"},
		},
		Tokens: []OperatorToken{{ID: "t1", Label: "nightly", CreatedAt: now}, {ID: "t2", ExpiresAt: now}},
	}
}

func hostileAccount() Account {
	v := cannedAccount()
	v.Name, v.Role, v.Sites, v.Host, v.CalledBy = hostile, hostile, []string{hostile}, hostile, hostile
	v.Passkeys[0].Name, v.Passkeys[0].Host = hostile, hostile
	v.Sessions[0].Agent, v.Sessions[0].Address, v.Sessions[0].Method = hostile, hostile, hostile
	v.Tokens[0].Label = hostile
	v.Error, v.Field = Note{Kind: "err", Text: hostile}, "totp"
	return v
}

func cannedSignInPages() map[string]templ.Component {
	p := cannedPage()
	p.Section, p.View = "account", ""
	setup, fresh, bare := cannedAccount(), cannedAccount(), Account{Now: now, Name: "nora", Role: "viewer", HasPassword: true, Ask: true, CalledBy: "192.0.2.1"}
	setup.TOTP, setup.Setup = false, TOTPSetup{Secret: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", Image: "data:image/png;base64,iVBORw0KGgo="}
	fresh.Codes, fresh.Done = []string{"abcd-efgh-ijkl-mnop", "bcde-fghi-jklm-nopq"}, Note{Kind: "ok", Text: "Done."}
	proving := cannedAccount()
	proving.Verify = true
	return map[string]templ.Component{
		"login all ways":      LoginPage(Login{Passkeys: true, Provider: hostile}),
		"second step":         SecondStepPage(Verification{Name: "nora", Path: "/login/second", Next: "/tunnels", TOTP: true, Recovery: true, Passkey: true}),
		"second step refused": SecondStepPage(Verification{Name: hostile, Path: "/login/second", Recovery: true, Elsewhere: hostile, Error: Note{Kind: "err", Text: hostile}}),
		"go on":               GoOnPage("dark", "/devices"),
		"verify":              VerifyPage(p, Verification{Path: "/verify", TOTP: true, Passkey: true}),
		"verify none":         VerifyPage(p, Verification{Path: "/verify"}),
		"account":             AccountPage(p, cannedAccount()),
		"account bare":        AccountPage(p, bare),
		"account set-up":      AccountPage(p, setup),
		"account codes":       AccountPage(p, fresh),
		"account to verify":   AccountPage(p, proving),
		"account hostile":     AccountPage(p, hostileAccount()),
	}
}

func cannedSignInParts() map[string]templ.Component {
	return map[string]templ.Component{"account panel": AccountPanel(hostileAccount())}
}

func TestSignInWays(t *testing.T) {
	t.Parallel()
	root := parse(t, LoginPage(Login{Next: "/tunnels?a=b", Passkeys: true, Provider: "Example ID"}))
	if n := elements(root, named("script")); len(n) != 1 {
		t.Errorf("%d scripts", len(n))
	}
	if n := elements(root, with("href", "/login/oidc?next=%2Ftunnels%3Fa%3Db")); len(n) != 1 || text(n[0]) != "Sign in with Example ID" {
		t.Error("the identity provider is not offered")
	}
	form := one(t, root, "sign-in-passkey-form")
	if path, _ := attribute(form, "data-path"); path != "/login/passkey" {
		t.Errorf("the passkey goes to %q", path)
	}
}

// TestFactorsThatTakeAProof cannot be changed before it was given.
func TestFactorsThatTakeAProof(t *testing.T) {
	t.Parallel()
	v := cannedAccount()
	v.Verify = true
	root := parse(t, AccountPage(cannedPage(), v))
	for _, id := range []string{"totp-remove", "recovery-make", "passkey-add"} {
		if _, disabled := attribute(one(t, root, id), "disabled"); !disabled {
			t.Errorf("%s can be pressed", id)
		}
	}
	if n := elements(root, with("href", "/verify?next=/account")); len(n) != 1 {
		t.Error("nothing leads to the proof")
	}
}

func TestRefusedFormSaysWhy(t *testing.T) {
	t.Parallel()
	v := cannedAccount()
	v.Field, v.Error = "recovery", Note{Kind: "err", Text: "No."}
	root := parse(t, AccountPage(cannedPage(), v))
	if n := elements(root, with("role", "alert")); !strings.Contains(text(one(t, root, "recovery-error")), "No.") || len(n) == 0 {
		t.Error("the refusal is not beside its form")
	}
	v.Field = ""
	if n := elements(parse(t, AccountPage(cannedPage(), v)), with("data-testid", "recovery-error")); len(n) != 0 {
		t.Error("the refusal is beside a form that it does not belong to")
	}
}

func TestBrowserText(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                                  "Firefox on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36":                         "Chrome on Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0":               "Edge on Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15":                   "Safari on macOS",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1": "Safari on iPhone",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36":                         "Chrome on Android",
		"curl/8.9.1": "curl/8.9.1",
		"":           "Unknown browser",
	} {
		if got := browserText(agent); got != want {
			t.Errorf("%q is %q, want %q", agent, got, want)
		}
	}
}
