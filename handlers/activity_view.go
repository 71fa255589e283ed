package handlers

import (
	"context"
	"net/url"
	"strconv"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"
	"borealis/views"
)

const (
	recentEvents  = 6  // on a device's summary
	eventsPerPage = 50 // of activity
)

// eventsView is one page of a device's activity, and the id that the next page begins
// before. Whoever asks may look at the device.
func (s *Server) eventsView(ctx context.Context, deviceID string, before int64, limit int) (events []views.Event, older int64, err error) {
	return s.quietView(ctx, store.RecordQuery{Scope: store.Scope{All: true}, DeviceID: deviceID, Before: before, Limit: limit})
}

// quietView is activity with one entry for each tunnel, which holds all that happened
// in it.
func (s *Server) quietView(ctx context.Context, q store.RecordQuery) (events []views.Event, older int64, err error) {
	q.Quiet = true
	lines, older, err := s.activities(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	var tunnels []string
	for _, r := range lines {
		if r.TunnelID != "" {
			tunnels = append(tunnels, r.TunnelID)
		}
	}
	steps, err := s.config.Store.TunnelRecords(ctx, tunnels)
	if err != nil {
		return nil, 0, err
	}
	for _, r := range lines {
		e := eventView(r)
		for _, step := range steps[r.TunnelID] {
			e.Steps = append(e.Steps, eventView(step))
		}
		events = append(events, e)
	}
	return events, older, nil
}

func eventView(r store.Record) views.Event {
	v := views.Event{
		ID: r.Seq, At: r.At, DeviceID: r.DeviceID, Hostname: r.Hostname, TunnelID: r.TunnelID, Actor: r.Actor, Source: r.Source,
		Kind: r.Kind, Target: r.Target, Result: r.Result, Reason: r.Reason, Detail: r.Detail,
	}
	if r.Kind == "tunnel_down" {
		v.End = endingView(tunnel.Reason(r.Reason))
	}
	return v
}

// activityQuery is what a principal may see of what happened: whoever may not read the
// audit trail sees what concerns devices, and of those the ones in their scope.
func activityQuery(p principal) store.RecordQuery {
	return store.RecordQuery{Scope: p.scope(), DevicesOnly: !p.may(access.ReadAudit)}
}

// activities reads a page of activity; older is zero when nothing comes after it.
func (s *Server) activities(ctx context.Context, q store.RecordQuery) (lines []store.Record, older int64, err error) {
	limit := q.Limit
	q.Limit++ // to see whether there is more
	lines, err = s.config.Store.Records(ctx, q)
	if err == nil && len(lines) > limit {
		lines = lines[:limit]
		older = lines[limit-1].Seq
	}
	return lines, older, err
}

// cursor reads ?before=, the id that a list of activity begins before.
func cursor(query url.Values) (int64, error) {
	text := query.Get("before")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, invalid("before", "The parameter before is not the id of an activity.")
	}
	return n, nil
}
