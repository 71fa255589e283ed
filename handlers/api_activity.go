package handlers

import (
	"net/http"
	"time"

	"borealis/store"
)

// An activityAnswer is a part of the list of what happened, newest first.
type activityAnswer struct {
	Activity []eventAnswer `json:"activity"`
	Next     *int64        `json:"next"` // for ?before= to go on; null when nothing comes after it
}

// An eventAnswer is one line of what happened.
type eventAnswer struct {
	ID       int64     `json:"id"`
	At       time.Time `json:"at"`
	DeviceID string    `json:"device_id"`
	Hostname string    `json:"hostname"`
	TunnelID string    `json:"tunnel_id"`
	Actor    string    `json:"actor"` // an operator's name; "" for engine and agent
	Kind     string    `json:"kind"`
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail"`
}

// apiActivity lists what happened: ?device_id= chooses, ?limit= and ?before= page.
func (s *Server) apiActivity(r *http.Request, _ principal) (any, error) {
	query := r.URL.Query()
	before, err := cursor(query)
	if err != nil {
		return nil, err
	}
	limit, err := number(query, "limit", store.PageSize, 1, store.MaxPage-1)
	if err != nil {
		return nil, err
	}
	id := query.Get("device_id")
	if id != "" {
		if _, err := s.device(r.Context(), id); err != nil {
			return nil, err
		}
	}
	lines, older, err := s.activities(r.Context(), store.RecordQuery{DeviceID: id, Before: before, Limit: limit})
	if err != nil {
		return nil, err
	}
	answer := activityAnswer{Activity: []eventAnswer{}}
	if older > 0 {
		answer.Next = &older
	}
	for _, a := range lines {
		answer.Activity = append(answer.Activity, eventAnswer{
			ID: a.Seq, At: a.At.UTC(), DeviceID: a.DeviceID, Hostname: a.Hostname, TunnelID: a.TunnelID,
			Actor: a.Actor, Kind: a.Kind, Reason: a.Reason, Detail: a.Detail,
		})
	}
	return answer, nil
}
