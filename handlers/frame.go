package handlers

import (
	"context"
	"net/http"
	"strings"
	"time"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/views"
)

// frame is what stands around a page of somebody who is signed in.
func (s *Server) frame(r *http.Request, p principal, title, section, live string) (views.Page, error) {
	f := s.bareFrame(r, title)
	f.Section, f.View, f.Operator = section, live, p.operator.Name
	return f, s.count(r.Context(), p, &f)
}

// count fills in what changes around a page.
func (s *Server) count(ctx context.Context, p principal, f *views.Page) error {
	_, total, err := s.config.Store.Devices(ctx, store.DeviceQuery{Scope: p.scope(), Limit: 1})
	if err == nil && p.may(access.ManageDevices) {
		_, f.Pending, err = s.config.Store.Devices(ctx, store.DeviceQuery{Scope: p.scope(), State: store.Pending, Limit: 1})
	}
	if err != nil {
		return err
	}
	f.MayAudit, f.MayAppoint = p.may(access.ReadAudit), p.may(access.ManageOperators)
	f.Now, f.Devices, f.Tunnels, f.Banner = time.Now(), total, len(s.tunnels(p)), views.Note{}
	if err := s.config.Manager.Link().Err; err != nil {
		f.Banner = views.Note{
			Kind: "err", Text: sentence(err.Error()) + ".",
			Hint: "The console works, but nobody can connect to a device. The engine tries again by itself.",
		}
	} else if err := s.config.Manager.Firewall().Err; err != nil {
		f.Banner = views.Note{
			Kind: "err", Text: sentence(err.Error()) + ".",
			Hint: "The engine repairs its packet filter by itself, and ends every tunnel when it cannot.",
		}
	} else if err := s.config.Manager.Recording(); err != nil {
		f.Banner = readOnlyBanner(err)
	}
	return nil
}

// bareFrame is a frame without anything that has to be looked up.
func (s *Server) bareFrame(r *http.Request, title string) views.Page {
	version := s.config.Version
	if s.config.Demo {
		version = strings.TrimSpace(version + " (demo)")
	}
	return views.Page{
		Title: title, Path: r.URL.RequestURI(), Theme: theme(r), Version: version, Now: time.Now(),
	}
}

// theme is the colours that the browser's user chose.
func theme(r *http.Request) string {
	cookie, err := r.Cookie(views.ThemeCookie)
	if err != nil {
		return ""
	}
	return views.ParseTheme(cookie.Value)
}
