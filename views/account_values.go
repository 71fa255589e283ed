package views

import (
	"cmp"
	"strings"
	"time"
)

// Account is the page on which operators look after their own ways to sign in.
type Account struct {
	Now          time.Time
	Name         string
	Role         string
	Sites        []string // the only ones that exist for the operator; empty = every site
	HasPassword  bool     // else they sign in at an identity provider
	TOTP         bool     // has an authenticator app
	CanTOTP      bool     // one can be set up on this engine
	Setup        TOTPSetup
	Passkeys     []Passkey
	Host         string   // the name that new passkeys are for; "" = there can be none
	CalledBy     string   // the name or address that the console was called by
	RecoveryLeft int      // recovery codes that were not used
	Codes        []string // recovery codes just made, shown this once
	Verify       bool     // changing factors takes a second factor that was proven a moment ago
	Ask          bool     // changing factors takes the password
	Sessions     []OperatorSession
	Tokens       []OperatorToken
	Done         Note   // what was just done; zero = nothing
	Error        Note   // why a form was refused; zero = it was not
	Field        string // the form at fault: password, totp, passkey, recovery, sessions or tokens
}

// TOTPSetup is an authenticator app that is being set up. The zero value is none.
type TOTPSetup struct {
	Secret string // as text
	Image  string // QR code as a data URI
}

// Passkey is one passkey of an operator.
type Passkey struct {
	ID      string
	Name    string
	Host    string // the name that the console is called by when it works
	AddedAt time.Time
	UsedAt  time.Time // zero = never
}

// factors reports whether there is a second factor.
func (v Account) factors() bool { return v.TOTP || len(v.Passkeys) > 0 }

// wrong is the message of a form, when it is the one at fault.
func (v Account) wrong(field string) Note {
	if v.Field == field {
		return v.Error
	}
	return Note{}
}

// methodText says how somebody signed in.
func methodText(method string) string {
	switch method {
	case "password":
		return "Password"
	case "passkey":
		return "Passkey"
	case "oidc":
		return "Identity provider"
	}
	return "Unknown"
}

// browserText names the browser and system in what a browser says about itself. Every
// browser claims to be several others too, so the order counts.
func browserText(agent string) string {
	name := func(marks ...[2]string) string {
		for _, m := range marks {
			if strings.Contains(agent, m[0]) {
				return m[1]
			}
		}
		return ""
	}
	browser := name([2]string{"Edg/", "Edge"}, [2]string{"Firefox/", "Firefox"}, [2]string{"Chrome/", "Chrome"}, [2]string{"Safari/", "Safari"})
	system := name([2]string{"Android", "Android"}, [2]string{"iPhone", "iPhone"}, [2]string{"iPad", "iPad"}, [2]string{"Windows", "Windows"},
		[2]string{"Mac OS X", "macOS"}, [2]string{"Linux", "Linux"})
	switch {
	case browser != "" && system != "":
		return browser + " on " + system
	case browser != "":
		return browser
	}
	return cmp.Or(agent, "Unknown browser")
}
