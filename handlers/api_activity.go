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
	ID       int64     `json:"id"` // number of the record
	At       time.Time `json:"at"`
	DeviceID string    `json:"device_id"`
	Hostname string    `json:"hostname"`
	TunnelID string    `json:"tunnel_id"`
	Actor    string    `json:"actor"`  // an operator's name; "" for engine and agent
	Source   string    `json:"source"` // the address that it came from; "" for the engine's host
	Kind     string    `json:"kind"`
	Target   string    `json:"target"` // what else is concerned
	Result   string    `json:"result"` // done, refused or failed
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail"`
}

func eventAnswerOf(r store.Record) eventAnswer {
	return eventAnswer{
		ID: r.Seq, At: r.At.UTC(), DeviceID: r.DeviceID, Hostname: r.Hostname, TunnelID: r.TunnelID, Actor: r.Actor, Source: r.Source,
		Kind: r.Kind, Target: r.Target, Result: r.Result, Reason: r.Reason, Detail: r.Detail,
	}
}

// apiActivity lists what happened: ?device_id= chooses, ?limit= and ?before= page.
func (s *Server) apiActivity(r *http.Request, p principal) (any, error) {
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
		if _, err := s.device(r.Context(), p, id); err != nil {
			return nil, err
		}
	}
	q := activityQuery(p)
	q.DeviceID, q.Before, q.Limit = id, before, limit
	lines, older, err := s.activities(r.Context(), q)
	if err != nil {
		return nil, err
	}
	answer := activityAnswer{Activity: []eventAnswer{}}
	if older > 0 {
		answer.Next = &older
	}
	for _, line := range lines {
		answer.Activity = append(answer.Activity, eventAnswerOf(line))
	}
	return answer, nil
}
