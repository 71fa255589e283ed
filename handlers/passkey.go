package handlers

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"borealis/handlers/factor"
	"borealis/store"
)

// challengeCookie holds the handle of the challenge for a sign-in by passkey.
const challengeCookie = "__Host-brl-passkey"

// A challenge is what a browser was asked, and for which host.
type challenge struct {
	factor.Challenge

	keys *factor.Passkeys
	host string
}

// passkeysOf are the passkeys of the host that a request names. An address can have none.
func passkeysOf(r *http.Request) (*factor.Passkeys, error) {
	return factor.NewPasskeys(requestHost(r), "https://"+r.Host)
}

// A passkeyAnswer is what the script sends back from the browser.
type passkeyAnswer struct {
	Name       string          `json:"name"` // of a new passkey
	Next       string          `json:"next"` // where to go afterwards
	Credential json.RawMessage `json:"credential"`
}

// A passkeyDone tells the script where to go on.
type passkeyDone struct {
	Next string `json:"next"`
}

func readPasskey(r *http.Request) (passkeyAnswer, error) {
	var a passkeyAnswer
	err := decode(r, &a)
	if err == nil && len(a.Credential) == 0 {
		err = invalid("credential", "The passkey's answer is missing.")
	}
	return a, err
}

// askPasskey answers a script with a challenge that is kept under a key.
func (s *Server) askPasskey(w http.ResponseWriter, r *http.Request, key string, begin func(*factor.Passkeys) (any, factor.Challenge, error)) error {
	keys, err := passkeysOf(r)
	if err != nil {
		return invalid("", "%s.", sentence(err.Error()))
	}
	ask, c, err := begin(keys)
	if err != nil {
		return err
	}
	s.signIns.challenges.put(key, source(r), challenge{c, keys, requestHost(r)})
	writeJSON(w, ask)
	return nil
}

// ownerOf is an operator with their passkeys for a host.
func (s *Server) ownerOf(r *http.Request, o store.Operator, host string) (factor.Owner, error) {
	has, err := s.config.Store.Factors(r.Context(), o.ID)
	owner := factor.Owner{ID: o.ID, Name: o.Name}
	for _, k := range has.Passkeys {
		if k.RPID == host {
			owner.Stored = append(owner.Stored, k.Credential)
		}
	}
	return owner, err
}

// askOwn asks an operator for one of their passkeys.
func (s *Server) askOwn(w http.ResponseWriter, r *http.Request, key string, o store.Operator) error {
	owner, err := s.ownerOf(r, o, requestHost(r))
	if err != nil {
		return err
	}
	if len(owner.Stored) == 0 {
		return invalid("", "You have no passkey for %s.", requestHost(r))
	}
	return s.askPasskey(w, r, key, func(keys *factor.Passkeys) (any, factor.Challenge, error) { return keys.Prove(owner) })
}

// proveByPasskey checks the answer to the challenge under a key and returns whose
// passkey it is. A wrong one costs the source a penalty and is recorded as told.
func (s *Server) proveByPasskey(r *http.Request, key string, answer []byte, refusal store.Record) (store.Operator, error) {
	name := stranger(r)
	if refusal.Actor != "" {
		name = proofOf(refusal.Actor)
	}
	if err := s.attempt(r, name); err != nil {
		return store.Operator{}, err
	}
	o, err := s.checkPasskey(r, key, answer)
	if err == nil {
		s.forgive(r, name)
		return o, nil
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		refusal.Detail = "it is not known"
	case errors.Is(err, factor.ErrPasskey), errors.Is(err, factor.ErrCloned):
		refusal.Detail = clean(err.Error(), maxDetail)
	default:
		s.forgive(r, name)
		return store.Operator{}, err
	}
	refusal.Reason = failedPasskey
	s.recordRefusal(r.Context(), refusal)
	if errors.Is(err, factor.ErrCloned) {
		return store.Operator{}, refuse(codeFactorFailed, "%s. Remove it under Account and make a new one.", sentence(err.Error()))
	}
	return store.Operator{}, refuse(codeFactorFailed, "The passkey was not accepted.")
}

// stranger stands for an operator's name in the penalties of somebody who has named
// none. Nobody can be called so.
func stranger(r *http.Request) string { return "from " + source(r) }

// proofOf stands for an operator's name in the penalties of somebody who is signed in,
// or half. Strangers who guess at the operator's password do not get in their way.
func proofOf(name string) string { return "proof of " + name }

const maxDetail = 200 // characters of what a record says about a refusal

// checkPasskey uses a challenge up.
func (s *Server) checkPasskey(r *http.Request, key string, answer []byte) (store.Operator, error) {
	c, ok := s.signIns.challenges.take(key)
	if !ok {
		return store.Operator{}, refuse(codeFactorFailed, "It took too long, or was done already. Try again.")
	}
	var found store.Passkey
	var who store.Operator
	used, err := c.keys.Proven(c.Challenge, answer, func(id []byte) (factor.Owner, error) {
		var err error
		if found, who, err = s.config.Store.PasskeyByCredential(r.Context(), id); err != nil {
			return factor.Owner{}, err
		}
		return s.ownerOf(r, who, c.host)
	})
	if err != nil {
		return store.Operator{}, err
	}
	return who, s.config.Store.UsePasskey(r.Context(), found.ID, used.Stored, time.Now())
}

// askSignIn asks whoever is there for a passkey.
func (s *Server) askSignIn(w http.ResponseWriter, r *http.Request) {
	handle := newSecret()
	setCookie(w, challengeCookie, handle, http.SameSiteStrictMode)
	err := s.askPasskey(w, r, handle, func(keys *factor.Passkeys) (any, factor.Challenge, error) { return keys.Prove(factor.Owner{}) })
	if err != nil {
		s.fail(w, r, err)
	}
}

// signInByPasskey signs the owner of a passkey in. It is two factors by itself.
func (s *Server) signInByPasskey(w http.ResponseWriter, r *http.Request) {
	a, err := readPasskey(r)
	var o store.Operator
	if err == nil {
		o, err = s.proveByPasskey(r, cookieOf(r, challengeCookie), a.Credential, store.Record{Kind: signInFailed, Source: address(r)})
	}
	if err == nil {
		err = s.mayEnter(r, o)
	}
	if err == nil {
		setCookie(w, challengeCookie, "", http.SameSiteStrictMode)
		err = s.startSession(w, r, o, store.ByPasskey, time.Now())
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, passkeyDone{localPath(a.Next)})
}

// askSecond asks somebody whose password was right for one of their passkeys.
func (s *Server) askSecond(w http.ResponseWriter, r *http.Request) {
	_, o, err := s.pendingOf(r, false)
	if err == nil {
		err = s.askOwn(w, r, cookieOf(r, pendingCookie), o)
	}
	if err != nil {
		s.fail(w, r, err)
	}
}

// secondByPasskey finishes a sign-in that was begun with a password.
func (s *Server) secondByPasskey(w http.ResponseWriter, r *http.Request) {
	a, err := readPasskey(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	wait, o, err := s.pendingOf(r, true)
	if err == nil {
		_, err = s.proveByPasskey(r, cookieOf(r, pendingCookie), a.Credential, store.Record{Kind: signInFailed, Actor: o.Name, Source: address(r)})
	}
	if err == nil {
		err = s.finishSecond(w, r, o)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, passkeyDone{wait.next})
}
