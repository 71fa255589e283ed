// Package oidc signs operators in at an identity provider.
package oidc

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
)

// Config is an identity provider that speaks OpenID Connect, and what it may say about
// operators. Issuer, ClientID, RoleClaim and Roles are required.
type Config struct {
	Issuer       string // URL of the provider, exactly as its tokens name it
	ClientID     string
	ClientSecret string // empty for a client that has none
	Name         string // what the console calls the provider; empty: the issuer's host
	// RoleClaim is the claim of the ID token, a text or a list of texts, whose values
	// Roles translates to roles. Other values say nothing.
	RoleClaim string
	Roles     map[string]string
	// Scopes are asked for beyond openid, profile and email, for providers that send the
	// claims only then, such as groups.
	Scopes []string
	// SitesClaim is the claim of the ID token, a text or a list of texts, that names the
	// sites which exist for the operator; nobody without one gets in. Empty: operators
	// are not held to sites.
	SitesClaim string
}

// Title is what the console calls the provider.
func (c Config) Title() string {
	if c.Name != "" {
		return c.Name
	}
	if u, err := url.Parse(c.Issuer); err == nil {
		return u.Hostname()
	}
	return c.Issuer
}

// check says what is wrong with a configuration.
func (c Config) check() error {
	u, err := url.Parse(c.Issuer)
	switch {
	case err != nil:
		return fmt.Errorf("read the issuer's address: %w", err)
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("the issuer %q is not an address such as https://id.example.com", c.Issuer)
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return fmt.Errorf("the issuer %q must be reached over https", c.Issuer)
	case c.ClientID == "":
		return errors.New("the client id of the identity provider is missing")
	case c.RoleClaim == "" || len(c.Roles) == 0:
		return errors.New("no claim of the identity provider is mapped to a role, so nobody could sign in")
	}
	return nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
