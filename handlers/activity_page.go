package handlers

import (
	"net/http"

	"borealis/views"

	"github.com/a-h/templ"
)

// activityPage is what happened, over all devices that the principal may see.
func (s *Server) activityPage(r *http.Request, p principal) (templ.Component, error) {
	before, err := cursor(r.URL.Query())
	if err != nil {
		return nil, err
	}
	frame, err := s.frame(r, p, "Activity", "activity", "")
	if err != nil {
		return nil, err
	}
	v := views.Activity{Now: frame.Now, Before: before}
	q := activityQuery(p)
	q.Before, q.Limit = before, eventsPerPage
	v.Events, v.Older, err = s.quietView(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return views.ActivityPage(frame, v), nil
}
