package handlers

import (
	"net/http"
	"time"

	"borealis/store"
)

// A codeRequest is the body of POST /api/codes. Every field may be left out.
type codeRequest struct {
	Uses        int    `json:"uses"`         // how many machines it is for; 1 when missing
	TTL         int    `json:"ttl_seconds"`  // how long it lives; one hour when missing
	AutoApprove bool   `json:"auto_approve"` // its machines need no approval
	Site        string `json:"site"`         // written on its machines
}

// A codeAnswer has the code's text, which is told this once.
type codeAnswer struct {
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
	if site := clean(q.Site, maxSite); site != q.Site {
		return nil, invalid("site", "The site is longer than %d characters or has characters that are not visible.", maxSite)
	}
	life := time.Duration(min(max(q.TTL, 0), int(2*maxCodeLife/time.Second))) * time.Second
	text, c, err := s.addCode(r.Context(), p, store.Code{Uses: q.Uses, AutoApprove: q.AutoApprove, Site: q.Site}, life)
	if err != nil {
		return nil, err
	}
	return codeAnswer{Code: text, ExpiresAt: c.ExpiresAt.UTC(), Uses: c.Uses}, nil
}
