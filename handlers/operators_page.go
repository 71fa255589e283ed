package handlers

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/views"

	"github.com/a-h/templ"
	"github.com/go-chi/chi/v5"
)

// operatorRoutes are the operators, and what is changed about them.
func (s *Server) operatorRoutes() []route {
	form := func(pattern string, a act) route {
		return route{http.MethodPost, pattern, access.ManageOperators, s.act(a)}
	}
	return slices.Concat(
		read("/operators", access.ManageOperators, s.page(s.operatorsPage)),
		read("/operators/{id}", access.ManageOperators, s.page(s.operatorPage)),
		read("/api/operators", access.ManageOperators, s.call(s.apiOperators)),
		read("/api/operators/{id}", access.ManageOperators, s.call(s.apiOperator)),
		read("/api/sessions", access.ManageOperators, s.call(s.apiSessions)),
		[]route{
			form("/operators", s.operatorAdd),
			form("/operators/{id}/role", s.operatorRole),
			form("/operators/{id}/password", s.operatorPassword),
			form("/operators/{id}/factors/reset", s.operatorFactors),
			form("/operators/{id}/lock", s.operatorLock),
			form("/operators/{id}/unlock", s.operatorUnlock),
			form("/operators/{id}/remove", s.operatorRemove),
			form("/operators/{id}/sessions/{session}/revoke", s.operatorSession),
			form("/operators/{id}/tokens/{token}/revoke", s.operatorToken),
			{http.MethodPost, "/api/operators", access.ManageOperators, s.call(s.apiAddOperator)},
			{http.MethodPut, "/api/operators/{id}/role", access.ManageOperators, s.call(s.apiSetRole)},
			{http.MethodPost, "/api/operators/{id}/password", access.ManageOperators, s.call(s.apiResetPassword)},
			{http.MethodPost, "/api/operators/{id}/factors/reset", access.ManageOperators, s.call(s.apiResetFactors)},
			{http.MethodDelete, "/api/operators/{id}", access.ManageOperators, s.call(s.apiRemoveOperator)},
			{http.MethodDelete, "/api/operators/{id}/tokens/{token}", access.ManageOperators, s.call(s.apiRevokeToken)},
			{http.MethodDelete, "/api/sessions/{id}", access.ManageOperators, s.call(s.apiRevokeSession)},
		},
	)
}

// operatorsPage lists everybody who may sign in.
func (s *Server) operatorsPage(r *http.Request, p principal) (templ.Component, error) {
	return s.operatorsView(r, p, views.Operators{})
}

// operatorsView draws the list around what is known already.
func (s *Server) operatorsView(r *http.Request, p principal, v views.Operators) (templ.Component, error) {
	all, err := s.operators(r.Context(), time.Now())
	if err != nil {
		return nil, err
	}
	v.Now = time.Now()
	for _, o := range all {
		v.Rows = append(v.Rows, views.OperatorRow{
			ID: o.ID, Name: o.Name, Role: o.Role, Sites: o.Sites, Factors: factorsText(o.factors), Sessions: len(o.sessions),
			Locked: o.lock.Kind != "", LastSeen: o.lastSeen, You: o.ID == p.operator.ID,
		})
	}
	if v.Form, err = s.operatorForm(r.Context(), p, v.Form); err != nil {
		return nil, err
	}
	if isPart(r, "operators") {
		return views.OperatorsPanel(v), nil
	}
	frame, err := s.frame(r, p, "Operators", "operators", "")
	if err != nil {
		return nil, err
	}
	return views.OperatorsPage(frame, v), nil
}

// operatorForm fills in what a form of a role can choose from.
func (s *Server) operatorForm(ctx context.Context, p principal, f views.OperatorForm) (views.OperatorForm, error) {
	for _, role := range access.Roles() {
		if access.MayGrant(p.operator.Role, role) {
			f.Roles = append(f.Roles, role)
		}
	}
	if f.Role == "" {
		f.Role = access.Operator
	}
	sites, err := s.config.Store.Sites(ctx)
	f.Known = sites
	return f, err
}

// A knownOperator is an operator with all that tells whether, and how, they are there.
type knownOperator struct {
	store.Operator

	factors  store.Factors
	sessions []store.Session // live ones, the newest first
	lock     store.Lock      // zero when there is none
	lastSeen time.Time       // zero when never
}

// operators are all operators.
func (s *Server) operators(ctx context.Context, now time.Time) ([]knownOperator, error) {
	all, err := s.config.Store.Operators(ctx)
	if err != nil {
		return nil, err
	}
	locks, err := s.locksNow(ctx)
	if err != nil {
		return nil, err
	}
	known := make([]knownOperator, 0, len(all))
	for _, o := range all {
		one, err := s.known(ctx, o, locks, now)
		if err != nil {
			return nil, err
		}
		known = append(known, one)
	}
	return known, nil
}

// knownNow is known with the locks of this moment.
func (s *Server) knownNow(ctx context.Context, o store.Operator) (knownOperator, error) {
	locks, err := s.locksNow(ctx)
	if err != nil {
		return knownOperator{}, err
	}
	return s.known(ctx, o, locks, time.Now())
}

// known looks up all about an operator.
func (s *Server) known(ctx context.Context, o store.Operator, locks locks, now time.Time) (knownOperator, error) {
	k := knownOperator{Operator: o, lock: locks.of(store.LockOperator, o.ID)}
	var err error
	if k.factors, err = s.config.Store.Factors(ctx, o.ID); err != nil {
		return k, err
	}
	sessions, err := s.config.Store.Sessions(ctx, o.ID)
	if err != nil {
		return k, err
	}
	for _, one := range sessions {
		k.lastSeen = later(k.lastSeen, one.SeenAt)
	}
	k.sessions = liveSessions(sessions, now)
	signedIn, err := s.config.Store.Records(ctx, store.RecordQuery{Scope: store.Scope{All: true}, Actor: o.Name, Kind: "signed_in", Limit: 1})
	if err != nil {
		return k, err
	}
	for _, line := range signedIn {
		k.lastSeen = later(k.lastSeen, line.At)
	}
	return k, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// factorsText names second factors in a few words; "" when there are none.
func factorsText(f store.Factors) string {
	var have []string
	if len(f.Passkeys) > 0 {
		have = append(have, "passkey")
	}
	if f.TOTP {
		have = append(have, "app")
	}
	return strings.Join(have, ", ")
}

// operatorPage is the page of one operator.
func (s *Server) operatorPage(r *http.Request, p principal) (templ.Component, error) {
	return s.operatorView(r, p, chi.URLParam(r, "id"), views.Operator{})
}

// operatorView draws an operator around what is known already.
func (s *Server) operatorView(r *http.Request, p principal, id string, v views.Operator) (templ.Component, error) {
	o, err := s.readOperator(r.Context(), id)
	if err != nil {
		return nil, err
	}
	v.Now = time.Now()
	k, err := s.knownNow(r.Context(), o)
	if err != nil {
		return nil, err
	}
	v.ID, v.Name, v.Role, v.Sites, v.You = o.ID, o.Name, o.Role, o.Sites, o.ID == p.operator.ID
	v.HasPassword, v.CreatedAt, v.LastSeen = o.PasswordHash != "", o.CreatedAt, k.lastSeen
	v.TOTP, v.RecoveryLeft, v.Lock = k.factors.TOTP, k.factors.RecoveryLeft, lockView(k.lock)
	for _, key := range k.factors.Passkeys {
		v.Passkeys = append(v.Passkeys, key.Name)
	}
	for _, one := range k.sessions {
		v.Sessions = append(v.Sessions, views.OperatorSession{
			ID: one.ID, Method: one.Method, Address: one.RemoteAddr, Agent: one.UserAgent, CreatedAt: one.CreatedAt,
			SeenAt: one.SeenAt, ExpiresAt: one.ExpiresAt, Verified: one.VerifiedAt, You: one.ID == p.session.ID,
		})
	}
	tokens, err := s.config.Store.APITokens(r.Context(), o.ID)
	if err != nil {
		return nil, err
	}
	for _, one := range tokens {
		v.Tokens = append(v.Tokens, views.OperatorToken{ID: one.ID, Label: one.Label, CreatedAt: one.CreatedAt, ExpiresAt: one.ExpiresAt})
	}
	if v.Form.Role == "" { // else what was refused
		v.Form = views.OperatorForm{Role: o.Role, Sites: o.Sites, Some: len(o.Sites) > 0}
	}
	if v.Form, err = s.operatorForm(r.Context(), p, v.Form); err != nil {
		return nil, err
	}
	if isPart(r, "operator") {
		return views.OperatorPanel(v), nil
	}
	frame, err := s.frame(r, p, o.Name, "operators", "")
	if err != nil {
		return nil, err
	}
	return views.OperatorPage(frame, v), nil
}

// operatorPath is the path of an operator's page.
func operatorPath(id string) string { return "/operators/" + url.PathEscape(id) }
