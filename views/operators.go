package views

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/a-h/templ"
)

// operatorPath is the path of an operator's page or of something under it.
func operatorPath(id string, rest ...string) string {
	return strings.Join(append([]string{"/operators", url.PathEscape(id)}, rest...), "/")
}

func operatorURL(id string, rest ...string) templ.SafeURL {
	return templ.SafeURL(operatorPath(id, rest...))
}

// roleText says what a role is called and may do.
func roleText(role string) string {
	switch role {
	case "viewer":
		return "Viewer"
	case "operator":
		return "Operator"
	case "auditor":
		return "Auditor"
	case "admin":
		return "Administrator"
	}
	return plain(role)
}

// sitesText names the sites that somebody is held to.
func sitesText(role string, sites []string) string {
	if len(sites) == 0 || role != "viewer" && role != "operator" {
		return "every site"
	}
	names := make([]string, 0, len(sites))
	for _, s := range sites {
		names = append(names, plain(s))
	}
	return strings.Join(names, ", ")
}

// other is the chosen site that is not among the known ones.
func (f OperatorForm) other() string {
	for _, s := range f.Sites {
		if !slices.Contains(f.Known, s) {
			return s
		}
	}
	return ""
}

// factors names the second factors.
func (v Operator) factors() string {
	var have []string
	if len(v.Passkeys) > 0 {
		names := make([]string, 0, len(v.Passkeys))
		for _, n := range v.Passkeys {
			names = append(names, plain(n))
		}
		have = append(have, count(len(v.Passkeys), "passkey")+" ("+strings.Join(names, ", ")+")")
	}
	if v.TOTP {
		have = append(have, "codes of an app")
	}
	if len(have) == 0 {
		return "none"
	}
	return strings.Join(have, " and ")
}

func (v Operator) sessionsEnd() string {
	if len(v.Sessions) == 0 {
		return "The operator is not signed in now."
	}
	return "It ends " + count(len(v.Sessions), "session") + " and every shell in them."
}

func (v Operator) lockQuestion() string {
	return "Tunnels and shells of this operator end at once, and signing in is refused until somebody unlocks."
}

// about says how a session was begun.
func (s OperatorSession) about() string {
	text := "signed in with " + cmp.Or(signInMethod(s.Method), "a password")
	if s.Verified.IsZero() {
		return text + ", second factor not proven"
	}
	return text + ", second factor proven"
}

func signInMethod(method string) string {
	switch method {
	case "password":
		return "a password"
	case "passkey":
		return "a passkey"
	case "oidc":
		return "the identity provider"
	}
	return plain(method)
}
