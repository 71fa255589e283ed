package handlers

import (
	"context"
	"errors"
	"net/http"
	"time"

	"borealis/agent/release"
	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"
	"borealis/views"

	"github.com/go-chi/chi/v5"
)

// An updateAnswer is the agent's version of a device, as far as the engine can change it.
type updateAnswer struct {
	Available string     `json:"available"` // the version that the engine can offer, or ""
	Version   string     `json:"version"`   // that was offered last since the engine started, or ""
	Outcome   string     `json:"outcome"`   // offered, started, done, refused, failed or rolled_back; "" when none was offered
	Detail    string     `json:"detail"`    // what the agent said about that
	At        *time.Time `json:"at"`
}

// A carriedRelease is the release of the agent that the engine carries, as it was signed.
type carriedRelease struct {
	release.Manifest
	signed string // "" when there is none that a device would take
}

// readRelease reads the manifest that the engine carries.
func (c Config) readRelease() carriedRelease {
	signed := c.Downloads.Manifest()
	if signed == "" || c.Publisher == nil {
		return carriedRelease{}
	}
	m, err := release.Read(signed, c.Publisher)
	if err != nil {
		c.Logger.Error("release_unreadable", "err", err)
		return carriedRelease{}
	}
	return carriedRelease{m, signed}
}

// updateFor is nil when a device can be offered the release that the engine carries, and
// else says why not.
func (s *Server) updateFor(d store.Device) error {
	m := s.carried
	switch {
	case m.signed == "":
		return refuse(codeNoUpdate, "This engine carries no signed release of the agent.")
	case d.OS != "windows":
		return refuse(codeNoUpdate, "Only agents on Windows replace themselves. Install version %s on the device itself.", m.Version)
	case d.AgentVersion == m.Version:
		return refuse(codeNoUpdate, "The device runs version %s already.", m.Version)
	}
	f, ok := m.For(d.OS, d.Arch)
	if ok {
		_, ok = s.config.Downloads.BySHA256(f.SHA256)
	}
	if !ok {
		return refuse(codeNoUpdate, "This engine carries no agent of version %s for the device's processor.", m.Version)
	}
	return nil
}

// update offers a device the release that the engine carries.
func (s *Server) update(ctx context.Context, p principal, id string) error {
	d, err := s.device(ctx, p, id)
	if err != nil {
		return err
	}
	if err := s.updateFor(d); err != nil {
		return err
	}
	err = s.config.Manager.OfferUpdate(ctx, p.holder(""), d.ID, s.carried.Version, s.carried.signed)
	if active, is := errors.AsType[*tunnel.ActiveError](err); is {
		f := refuse(codeActive, "Somebody uses the device, and an update would end the tunnel.")
		f.tunnelID = active.TunnelID
		return f
	}
	return err
}

// updatePage is the Update button.
func (s *Server) updatePage(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	if err := s.update(r.Context(), p, id); err != nil {
		return err
	}
	return s.showDevice(w, r, p, id)
}

// apiUpdate offers a device the release that the engine carries. What comes of it, the
// device tells.
func (s *Server) apiUpdate(r *http.Request, p principal) (any, error) {
	if err := noFields(r); err != nil {
		return nil, err
	}
	id := chi.URLParam(r, "id")
	if err := s.update(r.Context(), p, id); err != nil {
		return nil, err
	}
	return s.deviceDetail(r, p, id)
}

// updateAnswer is how far a device's updates are.
func (s *Server) updateAnswer(d store.Device) updateAnswer {
	var a updateAnswer
	if d.State == store.Active && s.updateFor(d) == nil {
		a.Available = s.carried.Version
	}
	if last, _, ok := s.config.Manager.LastUpdate(d.ID); ok {
		a.Version, a.Outcome, a.Detail, a.At = last.Version, last.Outcome, last.Detail, moment(last.At)
	}
	return a
}

// updateView is the same for its page.
func (s *Server) updateView(d store.Device, st tunnel.Status, online bool) views.UpdateNote {
	a := s.updateAnswer(d)
	last, underWay, _ := s.config.Manager.LastUpdate(d.ID)
	v := views.UpdateNote{
		Available: a.Available, Version: a.Version, Outcome: a.Outcome, Detail: a.Detail, At: last.At, UnderWay: underWay,
	}
	switch {
	case !online:
		v.Blocked = "Possible as soon as the device is online."
	case st.Live():
		v.Blocked = "Possible as soon as nobody uses the device."
	}
	return v
}

// updateRoutes are updates of the agents.
func (s *Server) updateRoutes() []route {
	return []route{
		{http.MethodPost, "/devices/{id}/update", access.ManageDevices, s.act(s.updatePage)},
		{http.MethodPost, "/api/devices/{id}/update", access.ManageDevices, s.call(s.apiUpdate)},
	}
}
