package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"borealis/handlers/factor"
	"borealis/store"
	"borealis/views"
)

const maxPasskeyName = 64 // characters

// beginTOTP makes the secret of an authenticator app. It counts once a code has shown
// that the app has it.
func (s *Server) beginTOTP(_ http.ResponseWriter, r *http.Request, p principal, fields url.Values) (v views.Account, err error) {
	const field = "totp"
	if s.config.Box == nil {
		return v, invalid(field, "This engine has no key to keep the secret of an app with.")
	}
	if err := s.mayChangeFactors(r, p, fields.Get("password"), field); err != nil {
		return v, err
	}
	if has, err := s.config.Store.Factors(r.Context(), p.operator.ID); err != nil || has.TOTP {
		if err == nil {
			err = invalid(field, "You have an authenticator app already; remove it first.")
		}
		return v, err
	}
	s.signIns.setups.put(p.session.ID, p.session.ID, factor.NewTOTP())
	return v, nil
}

// cancelTOTP forgets the secret.
func (s *Server) cancelTOTP(_ http.ResponseWriter, _ *http.Request, p principal, _ url.Values) (v views.Account, err error) {
	s.signIns.setups.take(p.session.ID)
	return v, nil
}

// confirmTOTP turns the authenticator app on.
func (s *Server) confirmTOTP(w http.ResponseWriter, r *http.Request, p principal, fields url.Values) (v views.Account, err error) {
	const field = "totp"
	secret, ok := s.signIns.setups.look(p.session.ID)
	if !ok {
		return v, invalid(field, "Setting up took too long. Begin again.")
	}
	step, ok := factor.CheckTOTP(secret, fields.Get("code"), time.Now())
	if !ok {
		return v, invalid(field, "The code is not the app's. Check that this machine and the phone agree about the time, and try the next code.")
	}
	if _, ok := s.signIns.setups.take(p.session.ID); !ok {
		return v, invalid(field, "It was confirmed already.")
	}
	sealed := s.config.Box.Seal(totpPurpose(p.operator.ID), []byte(secret))
	if err := s.config.Store.SetTOTP(r.Context(), p.operator.ID, sealed, step, store.Record{}.By(p.actor())); err != nil {
		return v, err
	}
	v = done("The authenticator app is set up.", "From now on you sign in with your password and a code.")
	err = s.factorAdded(w, r, p, &v)
	return v, err
}

// factorAdded is what follows a new factor: it was just proven, and the operator's
// first one comes with recovery codes.
func (s *Server) factorAdded(w http.ResponseWriter, r *http.Request, p principal, v *views.Account) error {
	if err := s.verified(w, r, p); err != nil {
		return err
	}
	has, err := s.config.Store.Factors(r.Context(), p.operator.ID)
	if err == nil && has.RecoveryLeft == 0 {
		v.Codes, err = s.newRecoveryCodes(r.Context(), p)
	}
	return err
}

// newRecoveryCodes replaces the operator's recovery codes.
func (s *Server) newRecoveryCodes(ctx context.Context, p principal) ([]string, error) {
	codes := factor.NewRecoveryCodes()
	hashes := make([][32]byte, len(codes))
	for i, code := range codes {
		hashes[i], _ = factor.RecoveryHash(p.operator.ID, code)
	}
	return codes, s.config.Store.SetRecoveryCodes(ctx, p.operator.ID, hashes, store.Record{}.By(p.actor()))
}

// makeRecoveryCodes shows new codes, this once.
func (s *Server) makeRecoveryCodes(_ http.ResponseWriter, r *http.Request, p principal, fields url.Values) (v views.Account, err error) {
	const field = "recovery"
	has, err := s.config.Store.Factors(r.Context(), p.operator.ID)
	if err == nil && !has.Any() {
		err = invalid(field, "Recovery codes stand in for a second factor, and you have none yet.")
	}
	if err == nil {
		err = s.mayChangeFactors(r, p, fields.Get("password"), field)
	}
	if err == nil {
		v.Codes, err = s.newRecoveryCodes(r.Context(), p)
	}
	return v, err
}

// removeTOTP takes the authenticator app away.
func (s *Server) removeTOTP(_ http.ResponseWriter, r *http.Request, p principal, fields url.Values) (v views.Account, err error) {
	if err := s.mayChangeFactors(r, p, fields.Get("password"), "totp"); err != nil {
		return v, err
	}
	err = s.config.Store.DeleteTOTP(r.Context(), p.operator.ID, store.Record{}.By(p.actor()))
	return gone(err, "totp", "The authenticator app is removed.")
}

// removePasskey takes one of the operator's passkeys away.
func (s *Server) removePasskey(_ http.ResponseWriter, r *http.Request, p principal, fields url.Values) (v views.Account, err error) {
	if err := s.mayChangeFactors(r, p, fields.Get("password"), "passkey"); err != nil {
		return v, err
	}
	err = s.config.Store.DeletePasskey(r.Context(), p.operator.ID, r.PathValue("id"), store.Record{}.By(p.actor()))
	return gone(err, "passkey", "The passkey is removed.")
}

// gone is what came of taking a factor away.
func gone(err error, field, text string) (views.Account, error) {
	if errors.Is(err, store.ErrNotFound) {
		return views.Account{}, invalid(field, "It was removed already.")
	}
	return done(text, ""), err
}

// askNewPasskey asks the browser for a new passkey of the operator.
func (s *Server) askNewPasskey(w http.ResponseWriter, r *http.Request, p principal) error {
	var wanted struct {
		Password string `json:"password"`
	}
	if err := decode(r, &wanted); err != nil {
		return err
	}
	if err := s.mayChangeFactors(r, p, wanted.Password, "password"); err != nil {
		return err
	}
	owner, err := s.ownerOf(r, p.operator, requestHost(r))
	if err != nil {
		return err
	}
	return s.askPasskey(w, r, "register "+p.session.ID, func(keys *factor.Passkeys) (any, factor.Challenge, error) { return keys.Register(owner) })
}

// addPasskey stores the passkey that the browser has made.
func (s *Server) addPasskey(w http.ResponseWriter, r *http.Request, p principal) error {
	a, err := readPasskey(r)
	if err != nil {
		return err
	}
	name := clean(a.Name, maxPasskeyName)
	if name == "" {
		return invalid("name", "The passkey needs a name.")
	}
	c, ok := s.signIns.challenges.take("register " + p.session.ID)
	if !ok {
		return refuse(codeFactorFailed, "It took too long, or was done already. Try again.")
	}
	owner, err := s.ownerOf(r, p.operator, c.host)
	if err != nil {
		return err
	}
	made, err := c.keys.Registered(owner, c.Challenge, a.Credential)
	if errors.Is(err, factor.ErrPasskey) {
		s.log.InfoContext(r.Context(), "passkey_refused", "operator", p.operator.Name, "err", err)
		return refuse(codeFactorFailed, "The browser's passkey was not accepted.")
	}
	if err != nil {
		return err
	}
	_, err = s.config.Store.AddPasskey(r.Context(), store.Passkey{
		OperatorID: p.operator.ID, Name: name, RPID: c.host, CredentialID: made.ID, Credential: made.Stored,
	}, store.Record{}.By(p.actor()))
	switch {
	case errors.Is(err, store.ErrConflict):
		return invalid("credential", "That passkey is known already.")
	case errors.Is(err, store.ErrTooManyFactors):
		return invalid("credential", "You have %d passkeys already; remove one first.", store.MaxPasskeys)
	case err != nil:
		return err
	}
	if err := s.verified(w, r, p); err != nil {
		return err
	}
	writeJSON(w, passkeyDone{"/account"})
	return nil
}
