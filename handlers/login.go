package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"borealis/handlers/factor"
	"borealis/handlers/oidc"
	"borealis/store"
	"borealis/views"
)

const maxName = 128 // characters of an operator's name

// signInFailed is the kind of the records of sign-ins that failed.
const signInFailed = "sign_in_failed"

// Why a sign-in failed, as records say it.
const (
	failedPassword = "password"
	failedFactor   = "second_factor"
	failedPasskey  = "passkey"
	failedOIDC     = "oidc"
	failedLocked   = "locked"
)

// signIns is what the engine keeps in memory of people who are proving who they are.
type signIns struct {
	pending    keep[pending]   // by cookie: the password was right, the second factor is awaited
	challenges keep[challenge] // of passkeys, by session or cookie
	setups     keep[string]    // secrets of authenticator apps that are being set up, by session
	flows      keep[flow]      // at the identity provider, by cookie
	codes      *throttle       // wrong codes, by operator
	provider   *oidc.Provider  // nil when there is none
}

func newSignIns(c Config) (*signIns, error) {
	if !slices.Contains([]string{"", stepUpNever, stepUpSession, stepUpShell}, c.StepUp) {
		return nil, fmt.Errorf("a second factor can be asked for never, once a session or for each shell, and not %q", c.StepUp)
	}
	s := &signIns{codes: newThrottle(codeBurst)}
	if c.OIDC == nil {
		return s, nil
	}
	if err := checkRoles(c.OIDC.Roles); err != nil {
		return nil, err
	}
	var err error
	s.provider, err = oidc.New(*c.OIDC)
	return s, err
}

// loginPage shows the sign-in form, or goes on when the browser has a session.
func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if _, err := s.identify(r); err == nil {
		http.Redirect(w, r, next, http.StatusSeeOther) //nolint:gosec // localPath lets only our own paths pass
		return
	}
	s.render(w, r, http.StatusOK, views.LoginPage(s.loginView(r, next)))
}

func (s *Server) loginView(r *http.Request, next string) views.Login {
	v := views.Login{Theme: theme(r), Next: next}
	_, err := passkeysOf(r)
	v.Passkeys = err == nil
	if s.config.OIDC != nil {
		v.Provider = s.config.OIDC.Title()
	}
	return v
}

// login signs an operator in by password, or asks for their second factor next.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	fields, err := form(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	name, next := clean(fields.Get("name"), maxName), localPath(fields.Get("next"))
	operator, err := s.signIn(r, name, fields.Get("password"))
	var has store.Factors
	if err == nil {
		has, err = s.config.Store.Factors(r.Context(), operator.ID)
	}
	switch {
	case err == nil && has.Any():
		handle := newSecret()
		s.signIns.pending.put(handle, source(r), pending{operator: operator, next: next})
		setCookie(w, pendingCookie, handle, http.SameSiteStrictMode)
		http.Redirect(w, r, "/login/second", http.StatusSeeOther)
		return
	case err == nil:
		err = s.startSession(w, r, operator, store.ByPassword, time.Time{})
	}
	if err != nil {
		s.loginFailed(w, r, name, next, err)
		return
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// loginFailed answers a person with the sign-in form again.
func (s *Server) loginFailed(w http.ResponseWriter, r *http.Request, name, next string, err error) {
	p := problemOf(err)
	if !wantsPage(r) || p.Code == codeInternal {
		s.fail(w, r, err)
		return
	}
	setProblemHeaders(w, p)
	v := s.loginView(r, next)
	v.Name, v.Error = name, views.Note{Kind: "err", Text: p.Detail, Hint: p.Hint}
	s.render(w, r, p.Status, views.LoginPage(v))
}

// signIn finds the operator of a name and a password. A wrong one, and an unknown
// name just the same, costs the source and the name a penalty. Only who knows the
// password learns that the operator is locked.
func (s *Server) signIn(r *http.Request, name, password string) (store.Operator, error) {
	if err := s.attempt(r, name); err != nil {
		return store.Operator{}, err
	}
	operator, ok, err := s.checkPassword(r.Context(), name, password)
	if ok || err != nil {
		s.forgive(r, name)
	}
	if err != nil {
		return store.Operator{}, err
	}
	if !ok {
		// What was typed is recorded only when it is a name: it could be a password.
		s.recordRefusal(r.Context(), store.Record{Kind: signInFailed, Actor: operator.Name, Source: address(r), Reason: failedPassword})
		return store.Operator{}, refuse(codeSignInFailed, "The name or the password is wrong.")
	}
	return operator, s.mayEnter(r, operator)
}

// mayEnter refuses a locked operator who has proven who they are.
func (s *Server) mayEnter(r *http.Request, o store.Operator) error {
	err := s.notLocked(r.Context(), o.ID)
	if f, ok := errors.AsType[*failure](err); ok && f.code == codeOperatorLocked {
		s.recordRefusal(r.Context(), store.Record{Kind: signInFailed, Actor: o.Name, Source: address(r), Reason: failedLocked})
	}
	return err
}

// checkPassword returns the operator of a name, zero when there is none, and whether
// the password is the right one. Both answers take the same time.
func (s *Server) checkPassword(ctx context.Context, name, password string) (store.Operator, bool, error) {
	operator, err := s.config.Store.OperatorByName(ctx, name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.Operator{}, false, err
	}
	ok, fresh, err := s.passwords.Check(ctx, operator.PasswordHash, password)
	if errors.Is(err, factor.ErrBusy) {
		return store.Operator{}, false, refuse(codeTooMany, "%s.", sentence(err.Error()))
	}
	if err == nil && fresh != "" {
		operator.PasswordHash = fresh
		err = s.config.Store.RehashPassword(ctx, operator.ID, fresh)
	}
	return operator, ok, err
}

// localPath is where to go after signing in: a path of this console and nothing else.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.Opaque != "" || u.User != nil ||
		!strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\t\r\n") {
		return "/devices"
	}
	return next
}

// record writes activity down. What cannot be written is at least in the log.
func (s *Server) record(ctx context.Context, a store.Record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	a.At = time.Now()
	if err := s.config.Store.AddRecord(ctx, a); err != nil {
		s.log.ErrorContext(ctx, "record_failed", "operator", a.Actor, "reason", a.Kind, "err", err)
	}
}

const recordTimeout = 10 * time.Second
