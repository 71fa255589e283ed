package handlers

import (
	"context"
	"errors"
	"net/http"
	"time"

	"borealis/store"
	"borealis/views"

	"github.com/a-h/templ"
)

// tunnelsPage is the list of live tunnels.
func (s *Server) tunnelsPage(r *http.Request, p principal) (templ.Component, error) {
	frame, err := s.frame(r, p, "Tunnels", "tunnels", "tunnels")
	if err != nil {
		return nil, err
	}
	v, err := s.tunnelsView(r.Context(), p)
	if err != nil {
		return nil, err
	}
	return views.TunnelsPage(frame, v), nil
}

func (s *Server) tunnelsView(ctx context.Context, p principal) (views.Tunnels, error) {
	link := s.config.Manager.Link()
	v := views.Tunnels{Now: time.Now(), Engine: views.Link{
		Mode: string(link.Mode), Reason: link.Reason, Name: link.Name, Port: link.Port,
	}}
	if link.Err != nil {
		v.Engine.Error = link.Err.Error()
	}
	firewall := s.config.Manager.Firewall()
	v.Engine.Firewall = views.Firewall{Kind: firewall.Kind, RepairedAt: firewall.RepairedAt, Detail: firewall.Detail}
	if firewall.Err != nil {
		v.Engine.Firewall.Error = firewall.Err.Error()
	}
	for _, st := range s.tunnels(p) {
		t := tunnelView(st, p)
		d, err := s.config.Store.Device(ctx, st.DeviceID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return views.Tunnels{}, err
		}
		t.Hostname = d.Hostname
		v.Live = append(v.Live, t)
	}
	return v, nil
}
