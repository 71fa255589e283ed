package handlers

import (
	"net/http"

	"borealis/store"
)

// logout ends the session, and with it the streams and terminals that it has open.
func (s *Server) logout(w http.ResponseWriter, r *http.Request, p principal) error {
	if err := s.endSession(r.Context(), p.session.ID, store.Record{Kind: "signed_out"}.By(p.actor())); err != nil {
		return err
	}
	setSessionCookie(w, "")
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}
