package handlers

import (
	"net/http"

	"borealis/store"

	"github.com/go-chi/chi/v5"
)

// An approveRequest is the body of POST /api/devices/{id}/approve, which may be left
// out.
type approveRequest struct {
	// Decision is what becomes of the device that was known on the same machine:
	// "replace" revokes it, "keep_both" leaves it alone.
	Decision store.Decision `json:"decision"`
}

// A quarantineRequest is the body of POST /api/devices/{id}/quarantine, which may be
// left out.
type quarantineRequest struct {
	Reason string `json:"reason"`
}

// A denyAnswer names a device that does not exist any more.
type denyAnswer struct {
	Denied string `json:"denied"` // id
}

// apiApprove lets a device have tunnels.
func (s *Server) apiApprove(r *http.Request, p principal) (any, error) {
	var q approveRequest
	if err := decodeAny(r, &q); err != nil {
		return nil, err
	}
	id := chi.URLParam(r, "id")
	if err := s.approve(r.Context(), p, id, q.Decision); err != nil {
		return nil, err
	}
	return s.deviceDetail(r, p, id)
}

// apiDeny turns a device away that waits for approval.
func (s *Server) apiDeny(r *http.Request, p principal) (any, error) {
	if err := noFields(r); err != nil {
		return nil, err
	}
	id := chi.URLParam(r, "id")
	return denyAnswer{id}, s.deny(r.Context(), p, id)
}

// apiQuarantine sets a device aside until somebody decides; its tunnel ends.
func (s *Server) apiQuarantine(r *http.Request, p principal) (any, error) {
	var q quarantineRequest
	if err := decodeAny(r, &q); err != nil {
		return nil, err
	}
	id := chi.URLParam(r, "id")
	if err := s.quarantine(r.Context(), p, id, q.Reason); err != nil {
		return nil, err
	}
	return s.deviceDetail(r, p, id)
}

// apiRevoke ends the trust in a device for good; its tunnel and its connection end.
func (s *Server) apiRevoke(r *http.Request, p principal) (any, error) {
	if err := noFields(r); err != nil {
		return nil, err
	}
	id := chi.URLParam(r, "id")
	if err := s.revoke(r.Context(), p, id); err != nil {
		return nil, err
	}
	return s.deviceDetail(r, p, id)
}

// decodeAny reads a body that may be left out.
func decodeAny(r *http.Request, v any) error {
	if r.ContentLength == 0 {
		return nil
	}
	return decode(r, v)
}
