package handlers

import (
	"net/http"
	"time"

	"borealis/handlers/access"
	"borealis/store"
)

// A locksAnswer is what is locked now.
type locksAnswer struct {
	Locks []lockAnswer `json:"locks"`
}

// A lockAnswer is one lock.
type lockAnswer struct {
	Kind   string     `json:"kind"`   // operator, device or site
	Target string     `json:"target"` // the operator's or device's id, or the site's name
	Name   string     `json:"name"`   // what people call it
	Reason string     `json:"reason"`
	By     string     `json:"by"`
	At     *time.Time `json:"at"`
	Until  *time.Time `json:"until"` // null: until it is lifted
}

// A lockRequest is the body of POST /api/locks.
type lockRequest struct {
	Kind   string    `json:"kind"`
	Target string    `json:"target"`
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"` // missing: until it is lifted
}

// An unlockRequest says what to unlock, in the body of DELETE /api/locks or in its query.
type unlockRequest struct {
	Kind   string `json:"kind"`
	Target string `json:"target"`
}

// An unlockAnswer names what is not locked any more.
type unlockAnswer struct {
	Kind   string `json:"kind"`
	Target string `json:"target"`
}

func answerLock(l store.Lock) lockAnswer {
	return lockAnswer{Kind: l.Kind, Target: l.Target, Name: l.Name, Reason: l.Reason, By: l.By, At: moment(l.At), Until: moment(l.Until)}
}

// apiLocks lists what is locked, of what somebody may manage.
func (s *Server) apiLocks(r *http.Request, p principal) (any, error) {
	all, err := s.locksNow(r.Context())
	if err != nil {
		return nil, err
	}
	a := locksAnswer{Locks: []lockAnswer{}}
	for _, l := range all {
		if l.Kind == store.LockOperator && !p.may(access.ManageOperators) {
			continue
		}
		a.Locks = append(a.Locks, answerLock(l))
	}
	return a, nil
}

// apiLock locks an operator, a device or a site.
func (s *Server) apiLock(r *http.Request, p principal) (any, error) {
	var q lockRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	l, err := s.lock(r.Context(), p, store.Lock{Kind: q.Kind, Target: q.Target, Reason: q.Reason, Until: q.Until})
	return answerLock(l), err
}

// apiUnlock lifts a lock. Some proxies drop the body of a DELETE, so the query will do.
func (s *Server) apiUnlock(r *http.Request, p principal) (any, error) {
	q := unlockRequest{Kind: r.URL.Query().Get("kind"), Target: r.URL.Query().Get("target")}
	if r.ContentLength != 0 {
		q = unlockRequest{}
		if err := decode(r, &q); err != nil {
			return nil, err
		}
	}
	return unlockAnswer(q), s.unlock(r.Context(), p, q.Kind, q.Target)
}
