package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"borealis/store"
	"borealis/store/audit"
)

const (
	maxExports    = 2                // at a time
	exportTimeout = 30 * time.Second // for a piece of an export to be taken
)

// auditing is what the audit trail's handlers share: each of its works takes a while.
type auditing struct {
	verifying sync.Mutex
	exports   atomic.Int32 // under way
}

// auditExport sends records as a file, as many as the filter finds. That somebody
// takes them is on record before the first of them is sent.
func (s *Server) auditExport(w http.ResponseWriter, r *http.Request, p principal) error {
	values := r.URL.Query()
	format := audit.Format(values.Get("format"))
	if format == "" {
		format = audit.JSONLines
	}
	if !slices.Contains(audit.Formats(), format) {
		return invalid("format", "There are the formats %s and %s.", audit.JSONLines, audit.CSV)
	}
	filter, err := readAuditFilter(p, values)
	if err != nil {
		return err
	}
	if s.audits.exports.Add(1) > maxExports {
		s.audits.exports.Add(-1)
		f := refuse(codeTooMany, "%d exports are under way already.", maxExports)
		f.retry = 10 * time.Second
		return f
	}
	defer s.audits.exports.Add(-1)
	detail := string(format)
	if filter.text != "" {
		detail += " " + filter.text
	}
	if err := s.config.Store.AddRecord(r.Context(), store.Record{Kind: "audit_exported", Detail: detail}.By(p.actor())); err != nil {
		return err
	}
	w.Header().Set("Content-Type", format.MediaType())
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="borealis-audit-%s.%s"`, time.Now().UTC().Format("20060102-150405"), format))
	out := &patientWriter{w: w, control: http.NewResponseController(w)}
	err = audit.Export(r.Context(), s.config.Store, out, format, audit.Selection{
		Query: filter.query, Filter: filter.text, Engine: s.config.Keys.Identity.Pin().String(),
	})
	if err == nil {
		out.end()
		return nil
	}
	if !errors.Is(err, context.Canceled) && !out.failed {
		s.log.ErrorContext(r.Context(), "audit_export_failed", "operator", p.operator.Name, "err", err)
	}
	panic(http.ErrAbortHandler) // half an export must not look like a whole one
}

// A patientWriter gives a client a while for each piece of a long answer.
type patientWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	failed  bool // the client went away, or was too slow
}

func (p *patientWriter) Write(b []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(exportTimeout)); err != nil {
		return 0, err
	}
	n, err := p.w.Write(b)
	if err == nil {
		err = p.control.Flush() // net/http would keep some of it
	}
	p.failed = err != nil
	return n, err
}

// end lifts the time limit: the connection may serve other requests.
func (p *patientWriter) end() {
	_ = p.control.SetWriteDeadline(time.Time{}) // it only fails when there is no connection any more
}
