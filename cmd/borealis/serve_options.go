package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
	"borealis/handlers/oidc"
)

// stepUps are when a new terminal takes a second factor.
var stepUps = []string{"never", "session", "shell"}

// signInFlags say how operators prove themselves.
type signInFlags struct {
	oidc       oidc.Config
	secretFile string
	roles      words
}

// signInOptions adds the flags.
func signInOptions(f *flag.FlagSet, config *engine.Config) *signInFlags {
	s := new(signInFlags)
	f.StringVar(&config.StepUp, "step-up", "session", "when a new terminal takes a second factor: never|session|shell (once for each sign-in, or each time)")
	f.Func("trusted-proxy", "`NETWORK` of a reverse proxy whose X-Forwarded-For is believed, such as 10.0.0.0/24; may be given more than once", func(text string) error {
		p, err := parseNetwork(text)
		config.Proxies = append(config.Proxies, p)
		return err
	})
	f.StringVar(&s.oidc.Issuer, "oidc-issuer", "", "`URL` of an identity provider (OpenID Connect) that operators may sign in at")
	f.StringVar(&s.oidc.ClientID, "oidc-client-id", "", "`ID` that the provider knows this engine by")
	f.StringVar(&s.secretFile, "oidc-client-secret-file", "", "`FILE` with the client's secret")
	f.StringVar(&s.oidc.Name, "oidc-name", "", "`NAME` on the button; empty means the issuer's host")
	f.StringVar(&s.oidc.RoleClaim, "oidc-role-claim", "groups", "`CLAIM` that decides the role")
	f.Var(&s.roles, "oidc-role", "`VALUE=ROLE`: who has this value in the claim gets this role (viewer, operator or auditor); may be given more than once")
	f.Func("oidc-scope", "`SCOPE` to ask the provider for besides openid, profile and email, such as groups; may be given more than once", func(text string) error {
		s.oidc.Scopes = append(s.oidc.Scopes, text)
		return nil
	})
	f.StringVar(&s.oidc.SitesClaim, "oidc-sites-claim", "", "`CLAIM` that lists the sites of a viewer or operator; empty means every site")
	return s
}

// parseNetwork reads a network, or one address.
func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

// apply checks the settings and puts them into an engine's.
func (s *signInFlags) apply(config *engine.Config) error {
	if !slices.Contains(stepUps, config.StepUp) {
		return hint.Usage(fmt.Sprintf("--step-up %q: use one of %s", config.StepUp, strings.Join(stepUps, ", ")))
	}
	if s.oidc.Issuer == "" {
		return nil
	}
	s.oidc.Roles = make(map[string]string)
	for _, text := range s.roles {
		value, role, ok := strings.Cut(text, "=")
		if !ok {
			return hint.Usage(fmt.Sprintf("--oidc-role %q: use VALUE=ROLE", text))
		}
		s.oidc.Roles[value] = role
	}
	if s.secretFile != "" {
		b, err := os.ReadFile(s.secretFile)
		if err != nil {
			return fmt.Errorf("read the client's secret: %w", err)
		}
		s.oidc.ClientSecret = strings.TrimSpace(string(b))
	}
	config.OIDC = &s.oidc
	return nil
}

// syslogOptions adds the flags.
func syslogOptions(f *flag.FlagSet, s *engine.Syslog) {
	f.StringVar(&s.Address, "syslog", "", "`HOST:PORT` of a log server that gets the audit trail as RFC 5424 over TLS; 6514 is the usual port")
	f.StringVar(&s.CA, "syslog-ca", "", "`FILE` with the authorities that the log server's certificate is checked by; empty means the host's")
	f.StringVar(&s.Cert, "syslog-cert", "", "`FILE` with the certificate that the engine shows to the log server")
	f.StringVar(&s.Key, "syslog-key", "", "`FILE` with that certificate's key")
}
