package handlers

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"borealis/handlers/factor"
	"borealis/store"
	"borealis/views"
)

// pendingCookie holds the handle of a sign-in that waits for its second factor.
const pendingCookie = "__Host-brl-step"

// A wrong code costs more than a wrong password: it is short, and whoever guesses at it
// knows the password. Five are free in ten minutes, which is a chance of one in 460 for
// a whole day of guessing, with 720 lines on record to show for it.
const (
	codeCharges = 24 // each of penalty
	codeBurst   = 8 * time.Minute
)

// A pending is a sign-in whose password was right.
type pending struct {
	operator store.Operator // as they were when they gave their password
	next     string
}

// pendingOf is the sign-in that a request goes on with, and whose it is. Each call with
// answers counts as one of its tries.
func (s *Server) pendingOf(r *http.Request, answers bool) (pending, store.Operator, error) {
	look := s.signIns.pending.look
	if answers {
		look = s.signIns.pending.try
	}
	wait, ok := look(cookieOf(r, pendingCookie))
	if !ok {
		return pending{}, store.Operator{}, refuse(codeSignInFailed, "The sign-in has taken too long, or too many tries.")
	}
	o, err := s.config.Store.Operator(r.Context(), wait.operator.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && o.PasswordHash != wait.operator.PasswordHash {
		err = refuse(codeSignInFailed, "The password was changed meanwhile, or the operator removed.")
	}
	if err == nil {
		err = s.mayEnter(r, o)
	}
	return wait, o, err
}

// secondPage asks for the second factor.
func (s *Server) secondPage(w http.ResponseWriter, r *http.Request) {
	wait, o, err := s.pendingOf(r, false)
	if err == nil {
		err = s.showSecond(w, r, o, wait.next, nil)
	}
	if err != nil {
		s.loginFailed(w, r, "", wait.next, err)
	}
}

// showSecond draws the page, with why the last answer was refused.
func (s *Server) showSecond(w http.ResponseWriter, r *http.Request, o store.Operator, next string, refusal error) error {
	v, err := s.verification(r, o)
	if err != nil {
		return err
	}
	v.Theme, v.Name, v.Path, v.Next = theme(r), o.Name, "/login/second", next
	status := http.StatusOK
	if refusal != nil {
		p := problemOf(refusal)
		setProblemHeaders(w, p)
		status, v.Error = p.Status, views.Note{Kind: "err", Text: p.Detail, Hint: p.Hint}
	}
	s.render(w, r, status, views.SecondStepPage(v))
	return nil
}

// second finishes a sign-in by a code.
func (s *Server) second(w http.ResponseWriter, r *http.Request) {
	fields, err := form(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	wait, o, err := s.pendingOf(r, true)
	if err != nil {
		s.loginFailed(w, r, "", localPath(wait.next), err)
		return
	}
	err = s.proveByCode(r, o, store.Record{Kind: signInFailed, Actor: o.Name, Source: address(r)}, fields.Get("code"))
	if err == nil {
		if err = s.finishSecond(w, r, o); err == nil {
			http.Redirect(w, r, wait.next, http.StatusSeeOther)
			return
		}
	}
	if wantsPage(r) && problemOf(err).Code != codeInternal {
		err = s.showSecond(w, r, o, wait.next, err)
	}
	if err != nil {
		s.fail(w, r, err)
	}
}

// finishSecond ends the waiting and begins the session.
func (s *Server) finishSecond(w http.ResponseWriter, r *http.Request, o store.Operator) error {
	if _, ok := s.signIns.pending.take(cookieOf(r, pendingCookie)); !ok {
		return refuse(codeSignInFailed, "The sign-in was finished already.")
	}
	setCookie(w, pendingCookie, "", http.SameSiteStrictMode)
	return s.startSession(w, r, o, store.ByPassword, time.Now())
}

// verification is the ways in which an operator can prove their second factor.
func (s *Server) verification(r *http.Request, o store.Operator) (views.Verification, error) {
	has, err := s.config.Store.Factors(r.Context(), o.ID)
	if err != nil || !has.Any() {
		return views.Verification{}, err
	}
	v := views.Verification{TOTP: has.TOTP, Recovery: has.RecoveryLeft > 0}
	var elsewhere []string
	for _, k := range has.Passkeys {
		if k.RPID == requestHost(r) {
			v.Passkey = true
		} else if !slices.Contains(elsewhere, k.RPID) {
			elsewhere = append(elsewhere, k.RPID)
		}
	}
	v.Elsewhere = strings.Join(elsewhere, ", ")
	return v, nil
}

// proveByCode checks a code of an authenticator app or a recovery code of an operator.
// A wrong one costs a penalty and is recorded as told.
func (s *Server) proveByCode(r *http.Request, o store.Operator, refusal store.Record, code string) error {
	if err := s.attempt(r, proofOf(o.Name)); err != nil {
		return err
	}
	if wait := s.signIns.codes.wait(o.ID); wait > 0 {
		s.forgive(r, proofOf(o.Name))
		f := refuse(codeTooMany, "Too many codes were wrong. Try again in %s.", wait.Round(time.Second))
		f.retry = wait
		return f
	}
	for range codeCharges { // before it is known whether it is wrong: tries at the same time count
		s.signIns.codes.charge(o.ID)
	}
	err := s.checkCode(r, o, code)
	if f, ok := errors.AsType[*failure](err); ok && f.code == codeFactorFailed {
		refusal.Reason = failedFactor
		s.recordRefusal(r.Context(), refusal)
		return err
	}
	s.forgive(r, proofOf(o.Name))
	for range codeCharges {
		s.signIns.codes.forgive(o.ID)
	}
	return err
}

// checkCode uses a code up.
func (s *Server) checkCode(r *http.Request, o store.Operator, code string) error {
	wrong := refuse(codeFactorFailed, "The code is wrong.")
	has, err := s.config.Store.Factors(r.Context(), o.ID)
	if err != nil {
		return err
	}
	if has.TOTP {
		secret, err := s.totpOf(r, o)
		if err != nil {
			return err
		}
		if step, ok := factor.CheckTOTP(secret, code, time.Now()); ok {
			err := s.config.Store.UseTOTP(r.Context(), o.ID, step)
			if errors.Is(err, store.ErrFactorUsed) {
				return refuse(codeFactorFailed, "The code was used already; wait for the next one.")
			}
			return err
		}
	}
	hash, ok := factor.RecoveryHash(o.ID, code)
	if !ok || !has.Any() {
		return wrong
	}
	err = s.config.Store.UseRecoveryCode(r.Context(), o.ID, hash, store.Record{Actor: o.Name, Source: address(r)})
	if errors.Is(err, store.ErrNotFound) {
		return wrong
	}
	return err
}

// totpPurpose is what the secret of an operator's authenticator app is sealed for.
func totpPurpose(operatorID string) string { return "totp:" + operatorID }

// totpOf opens the secret of an operator's authenticator app.
func (s *Server) totpOf(r *http.Request, o store.Operator) (string, error) {
	sealed, err := s.config.Store.TOTP(r.Context(), o.ID)
	if err != nil {
		return "", err
	}
	if s.config.Box == nil {
		return "", errors.New("the key that the secrets of authenticator apps are sealed with was not given")
	}
	secret, err := s.config.Box.Open(totpPurpose(o.ID), sealed)
	return string(secret), err
}
