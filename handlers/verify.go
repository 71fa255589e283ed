package handlers

import (
	"net/http"
	"time"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/views"
)

// verifyRoutes are how somebody who is signed in proves their second factor.
func (s *Server) verifyRoutes() []route {
	return append(read("/verify", access.Look, s.act(s.verifyPage)),
		route{http.MethodPost, "/verify", access.Look, s.act(s.verify)},
		route{http.MethodPost, "/verify/passkey/options", access.Look, s.act(s.askVerify)},
		route{http.MethodPost, "/verify/passkey", access.Look, s.act(s.verifyByPasskey)},
	)
}

// verifyPage asks somebody who is signed in for their second factor.
func (s *Server) verifyPage(w http.ResponseWriter, r *http.Request, p principal) error {
	return s.showVerify(w, r, p, localPath(r.URL.Query().Get("next")), nil)
}

// showVerify draws the page, with why the last answer was refused.
func (s *Server) showVerify(w http.ResponseWriter, r *http.Request, p principal, next string, refusal error) error {
	v, err := s.verification(r, p.operator)
	if err != nil {
		return err
	}
	v.Path, v.Next = "/verify", next
	status := http.StatusOK
	if refusal != nil {
		p := problemOf(refusal)
		setProblemHeaders(w, p)
		status, v.Error = p.Status, views.Note{Kind: "err", Text: p.Detail, Hint: p.Hint}
	}
	frame, err := s.frame(r, p, "Second factor", "account", "")
	if err == nil {
		s.render(w, r, status, views.VerifyPage(frame, v))
	}
	return err
}

// notVerified is the record of an operator who is signed in and could not prove it.
func notVerified(p principal) store.Record {
	return store.Record{Kind: "verification_failed"}.By(p.actor())
}

// verify takes a code.
func (s *Server) verify(w http.ResponseWriter, r *http.Request, p principal) error {
	fields, err := form(r)
	if err != nil {
		return err
	}
	next := localPath(fields.Get("next"))
	err = s.proveByCode(r, p.operator, notVerified(p), fields.Get("code"))
	if err == nil {
		err = s.verified(w, r, p)
	}
	if err == nil {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return nil
	}
	if wantsPage(r) && problemOf(err).Code != codeInternal {
		return s.showVerify(w, r, p, next, err)
	}
	return err
}

// askVerify asks for a passkey.
func (s *Server) askVerify(w http.ResponseWriter, r *http.Request, p principal) error {
	return s.askOwn(w, r, "verify "+p.session.ID, p.operator)
}

// verifyByPasskey takes a passkey.
func (s *Server) verifyByPasskey(w http.ResponseWriter, r *http.Request, p principal) error {
	a, err := readPasskey(r)
	if err != nil {
		return err
	}
	if _, err := s.proveByPasskey(r, "verify "+p.session.ID, a.Credential, notVerified(p)); err != nil {
		return err
	}
	if err := s.verified(w, r, p); err != nil {
		return err
	}
	writeJSON(w, passkeyDone{localPath(a.Next)})
	return nil
}

// verified notes in the session that a second factor was proven. Its cookie changes:
// whoever may have copied the one before has proven nothing.
func (s *Server) verified(w http.ResponseWriter, r *http.Request, p principal) error {
	secret := newSecret()
	err := s.config.Store.VerifySession(r.Context(), p.session.ID, HashSecret(secret), time.Now(),
		store.Record{}.By(p.actor()))
	if err == nil {
		setSessionCookie(w, secret)
	}
	return err
}
