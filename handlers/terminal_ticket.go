package handlers

import (
	"net/http"

	"github.com/go-chi/chi/v5"
)

// A ticketAnswer lets the page that asked open one terminal socket within 30 seconds.
type ticketAnswer struct {
	Ticket string `json:"ticket"`
}

// terminalTicket gives a page the ticket for a terminal socket.
func (s *Server) terminalTicket(w http.ResponseWriter, r *http.Request, p principal) error {
	d, err := s.device(r.Context(), p, chi.URLParam(r, "id"))
	if err != nil {
		return err
	}
	ticket, err := s.tickets.issue(p.credential(), d.ID)
	if err == nil {
		writeJSON(w, ticketAnswer{ticket})
	}
	return err
}
