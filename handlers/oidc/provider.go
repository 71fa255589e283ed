package oidc

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Limits of what is asked of a provider.
const (
	timeout   = 10 * time.Second // of one request
	maxAnswer = 1 << 20          // bytes
	retry     = 2 * time.Second  // between two tries to find out about the provider
	maxText   = 256              // bytes of a claim's value
	maxValues = 1000             // of one claim
)

// Errors that callers tell apart. Both are wrapped with the reason.
var (
	ErrUnavailable = errors.New("the identity provider does not answer")
	ErrRefused     = errors.New("the identity provider's answer is not valid")
)

// A Provider signs people in at one identity provider. It finds out about the provider
// when it is first needed. It is safe for concurrent use.
type Provider struct {
	config Config
	client *http.Client

	mu    sync.Mutex
	known *oidc.Provider // nil until the provider was reached
	tried time.Time
	why   error // of the last try
}

// New returns a provider; it does not ask for anything yet.
func New(c Config) (*Provider, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
		DisableKeepAlives: true, // it is asked rarely
	}
	return &Provider{config: c, client: &http.Client{
		Timeout: timeout, Transport: bounded{transport},
		// A provider that sends the client's secret elsewhere is not the one configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// bounded cuts answers that are too long.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.next.RoundTrip(r)
	if err == nil {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, maxAnswer), answer.Body}
	}
	return answer, err
}

// A Flow is a sign-in that is under way. It stays with the engine: the browser learns
// the state and the nonce, and never the verifier.
type Flow struct{ state, nonce, verifier, redirect string }

// An Identity is who the provider says somebody is.
type Identity struct {
	Issuer, Subject string   // together the only thing that names a person for good
	Name            string   // what to call them; anybody may have chosen it
	Roles           []string // of Config.Roles, sorted; empty: they may not sign in
	Sites           []string // of Config.SitesClaim
}

// Begin starts a sign-in whose answer goes to the redirect address, and returns the
// provider's page to send the browser to. The error is [ErrUnavailable] when the
// provider cannot be reached.
func (p *Provider) Begin(ctx context.Context, redirect string) (page string, f Flow, err error) {
	known, err := p.discover(ctx)
	if err != nil {
		return "", f, err
	}
	f = Flow{state: rand.Text(), nonce: rand.Text(), verifier: oauth2.GenerateVerifier(), redirect: redirect}
	page = p.exchanger(known, f).AuthCodeURL(f.state, oidc.Nonce(f.nonce), oauth2.S256ChallengeOption(f.verifier))
	return page, f, nil
}

// Finish checks the answer that the browser brought back and returns who it is. The
// error is [ErrUnavailable] when the provider cannot be reached and [ErrRefused] when
// the answer is not good.
func (p *Provider) Finish(ctx context.Context, f Flow, answer url.Values) (Identity, error) {
	if f.state == "" || subtle.ConstantTimeCompare([]byte(answer.Get("state")), []byte(f.state)) != 1 {
		return Identity{}, fmt.Errorf("%w: it belongs to another sign-in", ErrRefused)
	}
	if said := answer.Get("error"); said != "" {
		return Identity{}, fmt.Errorf("%w: the provider says %.100q", ErrRefused, said)
	}
	// RFC 9207: a provider that names itself must be the one that was asked.
	if issuer := answer.Get("iss"); issuer != "" && issuer != p.config.Issuer {
		return Identity{}, fmt.Errorf("%w: it comes from %.100q", ErrRefused, issuer)
	}
	known, err := p.discover(ctx)
	if err != nil {
		return Identity{}, err
	}
	ctx = oidc.ClientContext(ctx, p.client)
	token, err := p.exchanger(known, f).Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(f.verifier))
	if err != nil {
		return Identity{}, exchangeError(err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return Identity{}, fmt.Errorf("%w: it has no ID token", ErrRefused)
	}
	proven, err := known.Verifier(&oidc.Config{ClientID: p.config.ClientID}).Verify(ctx, raw)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if subtle.ConstantTimeCompare([]byte(proven.Nonce), []byte(f.nonce)) != 1 {
		return Identity{}, fmt.Errorf("%w: the ID token was made for another sign-in", ErrRefused)
	}
	return p.identity(proven)
}

// exchangeError tells a provider that refuses a code from one that does not work.
func exchangeError(err error) error {
	if refusal, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refusal.Response.StatusCode < http.StatusInternalServerError {
		return fmt.Errorf("%w: the provider does not take the code: %s %.100q", ErrRefused, refusal.Response.Status, refusal.ErrorCode)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// exchanger is the OAuth side of the provider.
func (p *Provider) exchanger(known *oidc.Provider, f Flow) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.config.ClientID, ClientSecret: p.config.ClientSecret, Endpoint: known.Endpoint(),
		RedirectURL: f.redirect, Scopes: append([]string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail}, p.config.Scopes...),
	}
}

// discover finds out where the provider's pages and keys are, until it has once worked.
// Keys are looked up by the library, anew when a token is signed by one it has not seen.
func (p *Provider) discover(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	known, why, wait := p.known, p.why, time.Since(p.tried) < retry
	p.mu.Unlock()
	if known != nil || wait && why != nil {
		return known, why
	}
	known, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.config.Issuer)
	if err != nil {
		known, err = nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil && ctx.Err() == nil { // whoever gave up says nothing about the provider
		p.known, p.why, p.tried = known, err, time.Now()
	}
	return known, err
}

// identity reads what an ID token says.
func (p *Provider) identity(token *oidc.IDToken) (Identity, error) {
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if token.Subject == "" || len(token.Subject) > maxText {
		return Identity{}, fmt.Errorf("%w: the ID token does not say who it is about", ErrRefused)
	}
	who := Identity{Issuer: token.Issuer, Subject: token.Subject, Name: token.Subject}
	for _, claim := range []string{"email", "preferred_username"} {
		if name := texts(claims[claim]); len(name) == 1 {
			who.Name = name[0]
		}
	}
	for _, value := range texts(claims[p.config.RoleClaim]) {
		if role, mapped := p.config.Roles[value]; mapped {
			who.Roles = append(who.Roles, role)
		}
	}
	slices.Sort(who.Roles)
	who.Roles = slices.Compact(who.Roles)
	if p.config.SitesClaim != "" {
		who.Sites = texts(claims[p.config.SitesClaim])
	}
	return who, nil
}

// texts are the values of a claim that is a text or a list of texts.
func texts(claim any) []string {
	list, ok := claim.([]any)
	if !ok {
		list = []any{claim}
	}
	var all []string
	for _, one := range list[:min(len(list), maxValues)] {
		if text, ok := one.(string); ok && text != "" && len(text) <= maxText {
			all = append(all, text)
		}
	}
	return all
}
