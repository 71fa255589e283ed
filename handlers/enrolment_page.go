package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/views"

	"github.com/a-h/templ"
)

// enrolmentPage lists the enrolment codes and offers a form for a new one.
func (s *Server) enrolmentPage(r *http.Request, p principal) (templ.Component, error) {
	return s.enrolmentView(r, p, views.Enrolment{})
}

// enrolmentForm makes a code or deletes one. The new code is in the answer and
// nowhere else.
func (s *Server) enrolmentForm(w http.ResponseWriter, r *http.Request, p principal) error {
	if err := p.need(access.ManageDevices); err != nil {
		return err
	}
	fields, err := form(r)
	if err != nil {
		return err
	}
	var v views.Enrolment
	switch fields.Get("action") {
	case "create":
		v, err = s.codeFromForm(r.Context(), p, fields)
	case "delete":
		err = s.config.Store.DeleteCode(r.Context(), fields.Get("id"))
		if errors.Is(err, store.ErrNotFound) {
			err = nil // somebody else was faster
		}
	default:
		err = invalid("action", "The form does not say what to do.")
	}
	status := http.StatusOK
	if f, ok := errors.AsType[*failure](err); ok && f.code == codeInvalid {
		status = http.StatusUnprocessableEntity
		v.Error = views.Note{Kind: "err", Text: f.detail}
	} else if err != nil {
		return err
	}
	component, err := s.enrolmentView(r, p, v)
	if err == nil {
		s.render(w, r, status, component)
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
	codes, err := s.config.Store.Codes(r.Context())
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
	if isPart(r, "enrolment") {
		return views.EnrolmentPanel(v), nil
	}
	frame, err := s.frame(r, p, "Enrolment", "enrolment", "")
	if err != nil {
		return nil, err
	}
	return views.EnrolmentPage(frame, v), nil
}
