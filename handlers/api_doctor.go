package handlers

import (
	"net/http"
	"time"

	"borealis/agent/checkup"
	"borealis/views"

	"github.com/go-chi/chi/v5"
)

// A doctorAnswer is why a device cannot be reached, in the order in which things have to be right.
type doctorAnswer struct {
	DeviceID string            `json:"device_id"`
	At       time.Time         `json:"at"`
	OK       bool              `json:"ok"` // nothing is to be mended
	Millis   int64             `json:"ms"` // that it took
	Checks   []checkup.Finding `json:"checks"`
}

// apiDoctor looks for what is in the way of a device, and tries the ports of its live tunnel.
func (s *Server) apiDoctor(r *http.Request, p principal) (any, error) {
	if err := noFields(r); err != nil {
		return nil, err
	}
	id, began := chi.URLParam(r, "id"), time.Now()
	checks, err := s.diagnose(r, p, id)
	if err != nil {
		return nil, err
	}
	return doctorAnswer{
		DeviceID: id, At: began.UTC(), OK: checkup.AllOK(checks), Millis: time.Since(began).Milliseconds(), Checks: checks,
	}, nil
}

func (s *Server) diagnose(r *http.Request, p principal, id string) ([]checkup.Finding, error) {
	if _, err := s.device(r.Context(), p, id); err != nil {
		return nil, err
	}
	return s.config.Manager.Diagnose(r.Context(), id)
}

// doctorPage is the button "Why not?": htmx gets the panel, and a browser without scripts the page
// with the panel filled in.
func (s *Server) doctorPage(w http.ResponseWriter, r *http.Request, p principal) error {
	id, began := chi.URLParam(r, "id"), time.Now()
	found, err := s.diagnose(r, p, id)
	if err != nil {
		return err
	}
	checked := views.Doctor{At: began, Took: time.Since(began)}
	for _, f := range found {
		checked.Checks = append(checked.Checks, views.Check{Name: f.Name, OK: f.OK, Detail: f.Detail, Hint: f.Hint, Millis: f.Took})
	}
	if isPart(r, "doctor-findings") {
		s.render(w, r, http.StatusOK, views.DoctorFindings(checked))
		return nil
	}
	v, err := s.deviceView(r.Context(), p, id, views.TabSummary, 0)
	if err != nil {
		return err
	}
	v.Doctor = checked
	frame, err := s.frame(r, p, v.Hostname, "devices", "device:"+v.ID)
	if err != nil {
		return err
	}
	s.render(w, r, http.StatusOK, views.DevicePage(frame, v))
	return nil
}
