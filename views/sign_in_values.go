package views

import (
	"net/url"

	"github.com/a-h/templ"
)

// Login is the sign-in page.
type Login struct {
	Theme    string // light or dark; "" = as the browser likes it
	Name     string // what was typed, kept after a refusal
	Next     string // path to go to afterwards, already checked to be one of ours
	Error    Note   // why the last try was refused; zero = none
	Passkeys bool   // passkeys work by the name that the console was called by
	Provider string // the identity provider's name; "" = there is none
}

// Verification asks somebody for their second factor.
type Verification struct {
	Theme     string // of the page that asks at sign-in
	Name      string // who signs in
	Path      string // where the answers go
	Next      string // path to go to afterwards, already checked to be one of ours
	Error     Note   // why the last answer was refused; zero = none
	TOTP      bool   // has an authenticator app
	Recovery  bool   // has recovery codes left
	Passkey   bool   // has a passkey for the name that the console was called by
	Elsewhere string // other names that the operator has passkeys for, as text; "" = none
}

// none reports whether there is nothing to prove with.
func (v Verification) none() bool { return !v.TOTP && !v.Recovery && !v.Passkey && v.Elsewhere == "" }

// providerURL leads to the identity provider, and from there to next.
func providerURL(next string) templ.SafeURL {
	return templ.SafeURL("/login/oidc?next=" + url.QueryEscape(next))
}
