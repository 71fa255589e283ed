package handlers

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"borealis/handlers/access"
	"borealis/static/downloads"
	"borealis/store"
	"borealis/views"

	"github.com/a-h/templ"
	"github.com/go-chi/chi/v5"
)

// enrolmentRoutes are how devices come in.
func (s *Server) enrolmentRoutes() []route {
	return slices.Concat(
		read("/enrolment", access.Look, s.page(s.enrolmentPage)),
		read("/api/codes", access.ManageDevices, s.call(s.apiCodes)),
		[]route{
			{http.MethodPost, "/enrolment/codes", access.ManageDevices, s.act(s.addCodePage)},
			{http.MethodPost, "/enrolment/codes/{id}/remove", access.ManageDevices, s.act(s.removeCodePage)},
			{http.MethodPost, "/api/codes", access.ManageDevices, s.call(s.apiAddCode)},
			{http.MethodDelete, "/api/codes/{id}", access.ManageDevices, s.call(s.apiRemoveCode)},
		},
	)
}

// enrolmentPage shows who waits for approval, lists the enrolment codes and offers a
// form for a new one.
func (s *Server) enrolmentPage(r *http.Request, p principal) (templ.Component, error) {
	return s.enrolmentView(r, p, views.Enrolment{})
}

// addCodePage is the form that makes a code. The new code is in the answer and nowhere
// else.
func (s *Server) addCodePage(w http.ResponseWriter, r *http.Request, p principal) error {
	fields, err := form(r)
	if err != nil {
		return err
	}
	v, err := s.codeFromForm(r.Context(), p, fields)
	if f, ok := errors.AsType[*failure](err); ok && f.code == codeInvalid {
		v.Field = f.field
	}
	status, said, err := shown(err)
	if err != nil {
		return err
	}
	v.Error = said
	component, err := s.enrolmentView(r, p, v)
	if err == nil {
		s.render(w, r, status, component)
	}
	return err
}

// removeCodePage is the button that takes a code out of use.
func (s *Server) removeCodePage(w http.ResponseWriter, r *http.Request, p principal) error {
	err := s.removeCode(r.Context(), p, chi.URLParam(r, "id"))
	if f, ok := errors.AsType[*failure](err); err != nil && (!ok || f.code != codeNotFound) { // somebody else was faster
		return err
	}
	if !isFragment(r) {
		http.Redirect(w, r, "/enrolment", http.StatusSeeOther)
		return nil
	}
	component, err := s.enrolmentView(r, p, views.Enrolment{})
	if err == nil {
		s.render(w, r, http.StatusOK, component)
	}
	return err
}

// codeFromForm makes the code that a form describes. What was filled in is in the
// view even when it is refused.
func (s *Server) codeFromForm(ctx context.Context, p principal, fields url.Values) (views.Enrolment, error) {
	v := views.Enrolment{TTL: fields.Get("ttl"), Site: clean(fields.Get("site"), maxSite), Approve: fields.Get("auto_approve") != ""}
	uses, err := strconv.Atoi(fields.Get("uses"))
	if err != nil {
		return v, invalid("uses", "The number of machines is not a number.")
	}
	v.Uses = uses
	ttl, err := time.ParseDuration(v.TTL)
	if err != nil {
		v.TTL = ""
		return v, invalid("ttl", "The code's life is not a time such as 24h.")
	}
	text, _, err := s.addCode(ctx, p, store.Code{Uses: uses, AutoApprove: v.Approve, Site: v.Site}, ttl)
	v.New = text
	return v, err
}

// enrolmentView draws the page, or the part of it that htmx asks for, around what is
// known already.
func (s *Server) enrolmentView(r *http.Request, p principal, v views.Enrolment) (templ.Component, error) {
	codes, err := s.codes(r.Context(), p)
	if err != nil {
		return nil, err
	}
	v.Now, v.CanManage = time.Now(), p.may(access.ManageDevices)
	for _, c := range codes {
		v.Codes = append(v.Codes, views.Code{
			ID: c.ID, Uses: c.Uses, Used: c.Used, AutoApprove: c.AutoApprove, Site: c.Site,
			CreatedBy: c.CreatedBy, CreatedAt: c.CreatedAt, ExpiresAt: c.ExpiresAt,
		})
	}
	v.Address, v.Agents = s.config.PublicAddress(), s.agentFiles()
	if v.CanManage {
		v.Drivers = s.drivers()
		if v.Wrong, err = s.wrongCodesView(r.Context(), v.Now); err != nil {
			return nil, err
		}
	}
	if v.Sites, err = s.sitesView(r.Context(), p); err != nil {
		return nil, err
	}
	if isPart(r, "enrolment") {
		return views.EnrolmentPanel(v), nil
	}
	if v.Queue, err = s.queueView(r.Context(), p); err != nil {
		return nil, err
	}
	frame, err := s.frame(r, p, "Enrolment", "enrolment", "enrolment")
	if err != nil {
		return nil, err
	}
	return views.EnrolmentPage(frame, v), nil
}

// agentFiles are the agents that the engine carries.
func (s *Server) agentFiles() []views.CarriedAgent {
	var all []views.CarriedAgent
	for _, f := range s.config.Downloads.All() {
		all = append(all, views.CarriedAgent{Name: f.Name, OS: f.OS, Arch: f.Arch, Size: f.Size, SHA256: f.SHA256})
	}
	return all
}

// drivers are what an administrator gave the engine for Windows, or did not.
func (s *Server) drivers() []views.KeptDriver {
	var all []views.KeptDriver
	for _, arch := range downloads.DriverArchs() {
		f, err := s.config.Drivers.For(arch)
		d := views.KeptDriver{Arch: arch, Size: f.Size, SHA256: f.SHA256}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.Problem = sentence(err.Error()) + "."
		}
		all = append(all, d)
	}
	return all
}

// codes are the enrolment codes for the sites that somebody may see.
func (s *Server) codes(ctx context.Context, p principal) ([]store.Code, error) {
	all, err := s.config.Store.Codes(ctx)
	scope := p.scope()
	return slices.DeleteFunc(all, func(c store.Code) bool { return !scope.Has(c.Site) }), err
}
