package handlers

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"borealis/handlers/access"
	"borealis/handlers/factor"
	"borealis/store"
	"borealis/views"

	"github.com/a-h/templ"
)

// accountRoutes are how operators look after their own ways to sign in.
func (s *Server) accountRoutes() []route {
	post := func(pattern string, a act) route { return route{http.MethodPost, pattern, access.Look, s.act(a)} }
	return append(read("/account", access.Look, s.page(s.accountPage)),
		post("/account/password", s.accountForm(s.changePassword)),
		post("/account/totp/begin", s.accountForm(s.beginTOTP)),
		post("/account/totp/confirm", s.accountForm(s.confirmTOTP)),
		post("/account/totp/cancel", s.accountForm(s.cancelTOTP)),
		post("/account/totp/remove", s.accountForm(s.removeTOTP)),
		post("/account/recovery", s.accountForm(s.makeRecoveryCodes)),
		post("/account/passkeys/{id}/remove", s.accountForm(s.removePasskey)),
		post("/account/sessions/end-others", s.accountForm(s.endOtherSessions)),
		post("/account/sessions/{id}/end", s.accountForm(s.endOwnSession)),
		post("/account/tokens/{id}/revoke", s.accountForm(s.revokeOwnToken)),
		post("/account/passkeys/options", s.askNewPasskey),
		post("/account/passkeys", s.addPasskey),
	)
}

// An accountAct is what a form of the page does. What it says of what it did, and of
// why it did not, is in the view, and so is what is shown this once.
type accountAct func(w http.ResponseWriter, r *http.Request, p principal, fields url.Values) (views.Account, error)

// accountForm makes an act of what a form does: it answers with the page, or the part
// of it that htmx asks for.
func (s *Server) accountForm(do accountAct) act {
	return func(w http.ResponseWriter, r *http.Request, p principal) error {
		fields, err := form(r)
		if err != nil {
			return err
		}
		v, err := do(w, r, p, fields)
		status := http.StatusOK
		f, _ := errors.AsType[*failure](err)
		switch {
		case f != nil && f.code == codeInvalid:
			status = http.StatusUnprocessableEntity
			v.Field, v.Error = f.field, views.Note{Kind: "err", Text: f.detail}
		case f != nil && f.code == codeSecondFactor && wantsPage(r):
			http.Redirect(w, r, "/verify?next=/account", http.StatusSeeOther)
			return nil
		case err != nil:
			return err
		}
		component, err := s.accountView(r, p, v)
		if err == nil {
			s.render(w, r, status, component)
		}
		return err
	}
}

// done is the view of something that went well.
func done(text, hint string) views.Account {
	return views.Account{Done: views.Note{Kind: "ok", Text: text, Hint: hint}}
}

func (s *Server) accountPage(r *http.Request, p principal) (templ.Component, error) {
	return s.accountView(r, p, views.Account{})
}

// accountView draws the page, or the part of it that htmx asks for, around what is
// known already.
func (s *Server) accountView(r *http.Request, p principal, v views.Account) (templ.Component, error) {
	o, err := s.config.Store.Operator(r.Context(), p.operator.ID)
	if err != nil {
		return nil, err
	}
	has, err := s.config.Store.Factors(r.Context(), o.ID)
	if err != nil {
		return nil, err
	}
	v.Now, v.Name, v.Role, v.Sites, v.HasPassword = time.Now(), o.Name, o.Role, o.Sites, o.PasswordHash != ""
	v.TOTP, v.CanTOTP, v.RecoveryLeft, v.CalledBy = has.TOTP, s.config.Box != nil, has.RecoveryLeft, requestHost(r)
	if _, err := passkeysOf(r); err == nil {
		v.Host = requestHost(r)
	}
	for _, k := range has.Passkeys {
		v.Passkeys = append(v.Passkeys, views.Passkey{ID: k.ID, Name: k.Name, Host: k.RPID, AddedAt: k.AddedAt, UsedAt: k.UsedAt})
	}
	if v.Setup, err = s.setupView(p); err != nil {
		return nil, err
	}
	v.Verify, v.Ask = s.whatChangesTake(o, has)
	v.Verify = v.Verify && !verifiedWithin(p.session, proofLife) && len(v.Codes) == 0
	if err := s.ownAccess(r, p, &v); err != nil {
		return nil, err
	}
	if isPart(r, "account") {
		return views.AccountPanel(v), nil
	}
	frame, err := s.frame(r, p, "Account", "account", "")
	if err != nil {
		return nil, err
	}
	return views.AccountPage(frame, v), nil
}

// setupView is the authenticator app that is being set up.
func (s *Server) setupView(p principal) (views.TOTPSetup, error) {
	secret, ok := s.signIns.setups.look(p.session.ID)
	if !ok {
		return views.TOTPSetup{}, nil
	}
	picture, err := factor.TOTPCode(secret, "Borealis", p.operator.Name)
	return views.TOTPSetup{Secret: secret, Image: picture}, err
}

// ownAccess fills in the operator's sessions and API tokens.
func (s *Server) ownAccess(r *http.Request, p principal, v *views.Account) error {
	sessions, err := s.config.Store.Sessions(r.Context(), p.operator.ID)
	if err != nil {
		return err
	}
	for _, one := range sessions {
		if !over(one, v.Now) {
			v.Sessions = append(v.Sessions, views.OperatorSession{
				ID: one.ID, Method: one.Method, Address: one.RemoteAddr, Agent: one.UserAgent, CreatedAt: one.CreatedAt,
				SeenAt: one.SeenAt, ExpiresAt: one.ExpiresAt, Verified: one.VerifiedAt, You: one.ID == p.session.ID,
			})
		}
	}
	tokens, err := s.config.Store.APITokens(r.Context(), p.operator.ID)
	if err != nil {
		return err
	}
	for _, one := range tokens {
		v.Tokens = append(v.Tokens, views.OperatorToken{ID: one.ID, Label: one.Label, CreatedAt: one.CreatedAt, ExpiresAt: one.ExpiresAt})
	}
	return nil
}

// whatChangesTake is what an operator has to show to change their factors: a proof of
// the second factor that they have, or their password.
func (s *Server) whatChangesTake(o store.Operator, has store.Factors) (proof, password bool) {
	if has.Any() && (s.config.StepUp != stepUpNever || o.PasswordHash == "") {
		return true, false
	}
	return false, o.PasswordHash != ""
}

// mayChangeFactors refuses a change of factors to whoever merely sits at somebody's
// browser, or has got hold of its cookie. The field is where the refusal belongs.
func (s *Server) mayChangeFactors(r *http.Request, p principal, password, field string) error {
	has, err := s.config.Store.Factors(r.Context(), p.operator.ID)
	if err != nil {
		return err
	}
	proof, ask := s.whatChangesTake(p.operator, has)
	switch {
	case proof && !verifiedWithin(p.session, proofLife):
		return refuse(codeSecondFactor, "Changing factors takes a second factor that was proven within the last %d minutes.", int(proofLife.Minutes()))
	case ask:
		return s.confirmPassword(r, p, password, field)
	}
	return nil
}

// confirmPassword asks somebody who is signed in for their password again.
func (s *Server) confirmPassword(r *http.Request, p principal, password, field string) error {
	if err := s.attempt(r, proofOf(p.operator.Name)); err != nil {
		return err
	}
	_, ok, err := s.checkPassword(r.Context(), p.operator.Name, password)
	if ok || err != nil {
		s.forgive(r, proofOf(p.operator.Name))
		return err
	}
	refusal := notVerified(p)
	refusal.Reason = failedPassword
	s.recordRefusal(r.Context(), refusal)
	return invalid(field, "The password is wrong.")
}

// changePassword needs the old one, and ends the operator's other sessions.
func (s *Server) changePassword(_ http.ResponseWriter, r *http.Request, p principal, fields url.Values) (v views.Account, err error) {
	const field = "password"
	if p.operator.PasswordHash == "" {
		return v, invalid(field, "You have no password: you sign in at the identity provider.")
	}
	if fields.Get("new") != fields.Get("again") {
		return v, invalid(field, "The new password was typed in two different ways.")
	}
	if err := s.confirmPassword(r, p, fields.Get("old"), field); err != nil {
		return v, err
	}
	if fields.Get("old") == fields.Get("new") {
		return v, invalid(field, "The new password is the one you have.")
	}
	hash, err := factor.HashPassword(fields.Get("new"))
	if err != nil {
		return v, invalid(field, "%s.", sentence(err.Error()))
	}
	others, err := s.otherSessions(r, p)
	if err != nil {
		return v, err
	}
	if err := s.config.Store.SetPassword(r.Context(), p.operator.ID, hash, store.Record{}.By(p.actor())); err != nil {
		return v, err
	}
	for _, id := range others {
		s.streams.endSession(id)
	}
	s.access.wake()
	return done("Your password was changed.", "Your other browsers are signed out."), nil
}

// otherSessions are the ids of the operator's sessions but the one that asks.
func (s *Server) otherSessions(r *http.Request, p principal) ([]string, error) {
	all, err := s.config.Store.Sessions(r.Context(), p.operator.ID)
	var ids []string
	for _, v := range all {
		if v.ID != p.session.ID {
			ids = append(ids, v.ID)
		}
	}
	return ids, err
}

// endOtherSessions signs the operator out everywhere else.
func (s *Server) endOtherSessions(_ http.ResponseWriter, r *http.Request, p principal, _ url.Values) (v views.Account, err error) {
	ids, err := s.otherSessions(r, p)
	if err != nil {
		return v, err
	}
	for _, id := range ids {
		if err := s.endSession(r.Context(), id, store.Record{Kind: "session_revoked"}.By(p.actor())); err != nil {
			return v, err
		}
	}
	return done("You are signed out everywhere else.", ""), nil
}

// endOwnSession signs one of the operator's browsers out.
func (s *Server) endOwnSession(_ http.ResponseWriter, r *http.Request, p principal, _ url.Values) (v views.Account, err error) {
	ids, err := s.otherSessions(r, p)
	if err != nil {
		return v, err
	}
	id := r.PathValue("id")
	if !slices.Contains(ids, id) {
		return v, invalid("sessions", "That browser is not signed in any more.")
	}
	err = s.endSession(r.Context(), id, store.Record{Kind: "session_revoked"}.By(p.actor()))
	return done("The browser is signed out.", ""), err
}

// revokeOwnToken takes one of the operator's API tokens out of use.
func (s *Server) revokeOwnToken(_ http.ResponseWriter, r *http.Request, p principal, _ url.Values) (v views.Account, err error) {
	tokens, err := s.config.Store.APITokens(r.Context(), p.operator.ID)
	if err != nil {
		return v, err
	}
	id := r.PathValue("id")
	if !slices.ContainsFunc(tokens, func(t store.APIToken) bool { return t.ID == id }) {
		return v, invalid("tokens", "That token is not in use any more.")
	}
	err = s.config.Store.DeleteAPIToken(r.Context(), id, store.Record{}.By(p.actor()))
	if errors.Is(err, store.ErrNotFound) {
		err = nil // somebody else was faster
	}
	s.access.wake()
	return done("The token is revoked.", ""), err
}
