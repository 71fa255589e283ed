package handlers

import (
	"net/http"
	"time"

	"borealis/store"

	"github.com/go-chi/chi/v5"
)

// A codeRequest is the body of POST /api/codes. Every field may be left out.
type codeRequest struct {
	Uses        int    `json:"uses"`         // how many machines it is for; 1 when missing, 100 at most with auto_approve
	TTL         int    `json:"ttl_seconds"`  // how long it lives; one hour when missing, which is the most with auto_approve
	AutoApprove bool   `json:"auto_approve"` // its machines need no approval
	Site        string `json:"site"`         // written on its machines
}

// A codesAnswer is the enrolment codes, the newest first.
type codesAnswer struct {
	Codes []knownCode `json:"codes"`
}

// A knownCode is an enrolment code; its text is not known any more.
type knownCode struct {
	ID          string     `json:"id"`
	Uses        int        `json:"uses"`
	Used        int        `json:"used"`
	AutoApprove bool       `json:"auto_approve"`
	Site        string     `json:"site"`
	CreatedBy   string     `json:"created_by"`
	CreatedAt   *time.Time `json:"created_at"`
	ExpiresAt   *time.Time `json:"expires_at"`
}

// A codeAnswer has the code's text, which is told this once.
type codeAnswer struct {
	ID        string    `json:"id"`
	Code      string    `json:"code"`
	ExpiresAt time.Time `json:"expires_at"`
	Uses      int       `json:"uses"`
}

const defaultCodeLife = time.Hour

// apiAddCode makes an enrolment code.
func (s *Server) apiAddCode(r *http.Request, p principal) (any, error) {
	q := codeRequest{Uses: 1, TTL: int(defaultCodeLife / time.Second)}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	if !tidy(q.Site, maxSite) {
		return nil, invalid("site", "The site is longer than %d characters or has characters that are not visible.", maxSite)
	}
	life := time.Duration(min(max(q.TTL, 0), int(2*maxCodeLife/time.Second))) * time.Second
	text, c, err := s.addCode(r.Context(), p, store.Code{Uses: q.Uses, AutoApprove: q.AutoApprove, Site: q.Site}, life)
	if err != nil {
		return nil, err
	}
	return codeAnswer{ID: c.ID, Code: text, ExpiresAt: c.ExpiresAt.UTC(), Uses: c.Uses}, nil
}

// apiCodes lists the enrolment codes.
func (s *Server) apiCodes(r *http.Request, p principal) (any, error) {
	all, err := s.codes(r.Context(), p)
	if err != nil {
		return nil, err
	}
	a := codesAnswer{Codes: []knownCode{}}
	for _, c := range all {
		a.Codes = append(a.Codes, knownCode{
			ID: c.ID, Uses: c.Uses, Used: c.Used, AutoApprove: c.AutoApprove, Site: c.Site,
			CreatedBy: c.CreatedBy, CreatedAt: moment(c.CreatedAt), ExpiresAt: moment(c.ExpiresAt),
		})
	}
	return a, nil
}

// apiRemoveCode takes an enrolment code out of use.
func (s *Server) apiRemoveCode(r *http.Request, p principal) (any, error) {
	if err := noFields(r); err != nil {
		return nil, err
	}
	id := chi.URLParam(r, "id")
	return removedAnswer{id}, s.removeCode(r.Context(), p, id)
}
