package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"borealis/store"
	"borealis/views"
)

const maxName = 128 // characters of an operator's name

// loginPage shows the sign-in form, or goes on when the browser has a session.
func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if _, err := s.identify(r); err == nil {
		http.Redirect(w, r, next, http.StatusSeeOther) //nolint:gosec // localPath lets only our own paths pass
		return
	}
	s.render(w, r, http.StatusOK, views.LoginPage(views.Login{Theme: theme(r), Next: next}))
}

// login signs an operator in.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	fields, err := form(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	name, next := clean(fields.Get("name"), maxName), localPath(fields.Get("next"))
	operator, err := s.signIn(r, name, fields.Get("password"))
	if err == nil {
		err = s.startSession(w, r, operator)
	}
	if err == nil {
		s.record(r.Context(), store.Record{Kind: "signed_in", Actor: operator.Name, Source: address(r)})
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	p := problemOf(err)
	if !wantsPage(r) || p.Code == codeInternal {
		s.fail(w, r, err)
		return
	}
	setProblemHeaders(w, p)
	s.render(w, r, p.Status, views.LoginPage(views.Login{
		Theme: theme(r), Name: name, Next: next,
		Error: views.Note{Kind: "err", Text: p.Detail, Hint: p.Hint},
	}))
}

// signIn finds the operator of a name and a password. A wrong one, and an unknown
// name just the same, costs the source and the name a penalty.
func (s *Server) signIn(r *http.Request, name, password string) (store.Operator, error) {
	from, called := source(r), strings.ToLower(name)
	for _, one := range []struct {
		*throttle
		key string
	}{{s.sources, from}, {s.names, called}} {
		if wait := one.charge(one.key); wait > 0 {
			if one.throttle == s.names {
				s.sources.forgive(from)
			}
			f := refuse(codeTooMany, "Too many sign-ins have failed. Try again in %s.", wait.Round(time.Second))
			f.retry = wait
			return store.Operator{}, f
		}
	}
	operator, ok, err := s.checkPassword(r.Context(), name, password)
	if ok || err != nil {
		s.sources.forgive(from)
		s.names.forgive(called)
		return operator, err
	}
	// What was typed is recorded only when it is a name: it could be a password.
	s.record(r.Context(), store.Record{Kind: "sign_in_failed", Actor: operator.Name, Source: address(r), Result: store.Refused})
	return store.Operator{}, refuse(codeSignInFailed, "The name or the password is wrong.")
}

// checkPassword returns the operator of a name, zero when there is none, and whether
// the password is the right one. Both answers take the same time.
func (s *Server) checkPassword(ctx context.Context, name, password string) (store.Operator, bool, error) {
	operator, err := s.config.Store.OperatorByName(ctx, name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.Operator{}, false, err
	}
	ok, fresh, err := s.passwords.check(ctx, operator.PasswordHash, password)
	if err == nil && fresh != "" {
		err = s.config.Store.SetPassword(ctx, operator.ID, fresh)
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
