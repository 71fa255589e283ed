package handlers

import (
	"errors"
	"net/http"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"
	"borealis/views"

	"github.com/go-chi/chi/v5"
)

// connectPage is the Connect button.
func (s *Server) connectPage(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	if _, err := s.device(r.Context(), p, id); err != nil {
		return err
	}
	if _, err := s.config.Manager.Connect(r.Context(), id, p.requestHolder(r), tunnel.ConnectOptions{}); err != nil {
		return err
	}
	return s.showDevice(w, r, p, id)
}

// disconnectPage is the Disconnect button, and with force "Stop for everyone".
func (s *Server) disconnectPage(w http.ResponseWriter, r *http.Request, p principal) error {
	fields, err := form(r)
	if err != nil {
		return err
	}
	force, needed := fields.Get("force") == "1", access.Connect
	if force {
		needed = access.ManageDevices
	}
	if err := p.need(needed); err != nil {
		return err
	}
	id := chi.URLParam(r, "id")
	if _, err := s.device(r.Context(), p, id); err != nil {
		return err
	}
	_, err = s.config.Manager.Disconnect(r.Context(), id, p.requestHolder(r), force)
	if err != nil && !errors.Is(err, tunnel.ErrNotConnected) { // it ended meanwhile: that is what was asked for
		return err
	}
	return s.showDevice(w, r, p, id)
}

// keepOpenPage is the Keep open button: an operator says that the tunnel is in use.
func (s *Server) keepOpenPage(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	st, err := s.status(r.Context(), p, id)
	if err != nil {
		return err
	}
	if !attached(st, p) {
		return refuse(codeDown, "You are not connected to a tunnel of this device.")
	}
	s.config.Manager.Touch(st.TunnelID)
	return s.showDevice(w, r, p, id)
}

// approvePage lets a device have tunnels.
func (s *Server) approvePage(w http.ResponseWriter, r *http.Request, p principal) error {
	fields, err := form(r)
	if err != nil {
		return err
	}
	id := chi.URLParam(r, "id")
	if err := s.approve(r.Context(), p, id, store.Decision(fields.Get("decision"))); err != nil {
		return plainly(err)
	}
	return s.showDevice(w, r, p, id)
}

// denyPage turns a device away that waits for approval.
func (s *Server) denyPage(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	if err := s.deny(r.Context(), p, id); err != nil {
		return err
	}
	if isPart(r, "pending") {
		return s.showDevice(w, r, p, id)
	}
	goTo(w, r, "/enrolment") // its own page is gone
	return nil
}

// quarantinePage sets a device aside.
func (s *Server) quarantinePage(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	if err := s.quarantine(r.Context(), p, id, ""); err != nil {
		return err
	}
	return s.showDevice(w, r, p, id)
}

// revokePage ends the trust in a device.
func (s *Server) revokePage(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	if err := s.revoke(r.Context(), p, id); err != nil {
		return err
	}
	return s.showDevice(w, r, p, id)
}

// showDevice answers an act on a device: htmx gets the part that it asked for, and a
// browser without scripts goes to the device's page.
func (s *Server) showDevice(w http.ResponseWriter, r *http.Request, p principal, id string) error {
	switch {
	case isPart(r, "tunnel-list"):
		v, err := s.tunnelsView(r.Context(), p)
		if err != nil {
			return err
		}
		s.render(w, r, http.StatusOK, views.TunnelList(v))
	case isPart(r, "device-head"):
		v, err := s.deviceView(r.Context(), p, id, views.TabSummary, 0)
		if err != nil {
			return err
		}
		s.render(w, r, http.StatusOK, views.DeviceHead(v))
	case isPart(r, "pending"):
		v, err := s.queueView(r.Context(), p)
		if err != nil {
			return err
		}
		s.render(w, r, http.StatusOK, views.PendingQueue(v))
	default:
		http.Redirect(w, r, devicePath(id, views.TabSummary), http.StatusSeeOther)
	}
	return nil
}
