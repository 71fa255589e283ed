package handlers

import (
	"encoding/hex"
	"net/http"

	"borealis/store"
)

// An auditAnswer is a part of the audit trail, newest first.
type auditAnswer struct {
	Records []auditRecord `json:"records"`
	Next    *int64        `json:"next"` // for ?before= to go on; null when nothing comes after it
}

// An auditRecord is a line of the audit trail.
type auditRecord struct {
	eventAnswer
	Session string `json:"session"` // id of the web session or the API token; "" for neither
	Hash    string `json:"hash"`    // hexadecimal
}

// apiAudit lists records: the filter is the page's, ?limit= and ?before= page.
func (s *Server) apiAudit(r *http.Request, p principal) (any, error) {
	values := r.URL.Query()
	filter, err := readAuditFilter(p, values)
	if err != nil {
		return nil, err
	}
	if filter.query.Before, err = cursor(values); err != nil {
		return nil, err
	}
	if filter.query.Limit, err = number(values, "limit", store.PageSize, 1, store.MaxPage-1); err != nil {
		return nil, err
	}
	lines, older, err := s.activities(r.Context(), filter.query)
	if err != nil {
		return nil, err
	}
	answer := auditAnswer{Records: []auditRecord{}}
	if older > 0 {
		answer.Next = &older
	}
	for _, line := range lines {
		answer.Records = append(answer.Records, auditRecord{eventAnswer: eventAnswerOf(line), Session: line.Session, Hash: hex.EncodeToString(line.Hash[:])})
	}
	return answer, nil
}

// apiAuditVerify checks the trail and answers with what came of it.
func (s *Server) apiAuditVerify(r *http.Request, p principal) (any, error) {
	if err := noFields(r); err != nil {
		return nil, err
	}
	return s.verifyAudit(r.Context(), p)
}
