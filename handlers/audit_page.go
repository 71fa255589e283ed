package handlers

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/views"

	"github.com/a-h/templ"
)

const recordsPerPage = 50

// auditRoutes are the audit trail.
func (s *Server) auditRoutes() []route {
	return slices.Concat(
		read("/audit", access.ReadAudit, s.page(s.auditPage)),
		read("/api/audit", access.ReadAudit, s.call(s.apiAudit)),
		[]route{
			{http.MethodGet, "/audit/export", access.ReadAudit, s.act(s.auditExport)},
			{http.MethodPost, "/audit/verify", access.ReadAudit, s.page(s.auditVerifyPage)},
			{http.MethodGet, "/api/audit/export", access.ReadAudit, s.act(s.auditExport)},
			{http.MethodPost, "/api/audit/verify", access.ReadAudit, s.call(s.apiAuditVerify)},
		},
	)
}

// auditPage is the audit trail. A filter that cannot be is refused on the page, where
// it can be put right.
func (s *Server) auditPage(r *http.Request, p principal) (templ.Component, error) {
	return s.auditView(r, p, views.Note{})
}

// auditView draws the page; checked is what came of verifying the trail just now.
func (s *Server) auditView(r *http.Request, p principal, checked views.Note) (templ.Component, error) {
	ctx, values := r.Context(), r.URL.Query()
	before, err := cursor(values)
	if err != nil {
		return nil, err
	}
	frame, err := s.frame(r, p, "Audit", "audit", "")
	if err != nil {
		return nil, err
	}
	v := views.Audit{Now: frame.Now, Before: before}
	filter, err := readAuditFilter(p, values)
	v.Filter = filter.shown
	if f, ok := errors.AsType[*failure](err); ok && f.code == codeInvalid {
		v.Error = views.Note{Kind: "err", Text: f.detail}
		filter.query = store.RecordQuery{} // nothing
	} else if err != nil {
		return nil, err
	}
	if v.State, err = s.auditState(ctx); err != nil {
		return nil, err
	}
	v.State.Now, v.State.Checked = frame.Now, checked
	if v.Kinds, err = s.config.Store.Kinds(ctx); err != nil {
		return nil, err
	}
	if kind := v.Filter.Kind; kind != "" && !slices.Contains(v.Kinds, kind) {
		v.Kinds = append(v.Kinds, kind) // so that the choice shows what was asked for
	}
	if v.Total, err = s.config.Store.CountRecords(ctx, filter.query); err != nil {
		return nil, err
	}
	filter.query.Before, filter.query.Limit = before, recordsPerPage
	lines, older, err := s.activities(ctx, filter.query)
	if err != nil {
		return nil, err
	}
	v.Older = older
	for _, r := range lines {
		v.Lines = append(v.Lines, eventView(r))
	}
	if before > 0 && len(lines) > 0 {
		v.Newer, err = s.newerPage(ctx, filter.query, lines[0].Seq)
	}
	return views.AuditPage(frame, v), err
}

// newerPage is what the page above the one that begins with a record begins before:
// zero when that is the newest, or so far away that one goes back to the newest.
func (s *Server) newerPage(ctx context.Context, q store.RecordQuery, first int64) (int64, error) {
	q.Before, q.After, q.Limit = 0, first, store.MaxPage
	above, err := s.config.Store.Records(ctx, q)
	if err != nil || len(above) <= recordsPerPage || len(above) == store.MaxPage {
		return 0, err
	}
	return above[len(above)-recordsPerPage].Seq + 1, nil
}

// auditState is how the chain stands.
func (s *Server) auditState(ctx context.Context) (views.AuditState, error) {
	seq, _, err := s.config.Store.Head(ctx)
	if err != nil {
		return views.AuditState{}, err
	}
	v := views.AuditState{Records: seq}
	last, err := s.config.Store.LastCheckpoint(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return v, nil
	}
	v.Checkpoint, v.SignedAt = last.Seq, last.At
	return v, err
}
