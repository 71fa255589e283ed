package handlers

import (
	"context"
	"net/http"
	"slices"
	"time"

	"borealis/tunnel"
	"borealis/views"

	"github.com/go-chi/chi/v5"
)

// timelineMost is how many steps of a device are told at most; see [tunnel.Manager.Timeline].
const timelineMost = 200

// A timelineAnswer is the last steps of a device, newest first.
type timelineAnswer struct {
	DeviceID string         `json:"device_id"`
	Moments  []momentAnswer `json:"moments"`
}

// A momentAnswer is a step of a tunnel, or what else is on record.
type momentAnswer struct {
	At       time.Time `json:"at"`
	TunnelID string    `json:"tunnel_id"` // "" when it belongs to none
	Step     string    `json:"step"`      // requested offered ready peered up closing ended; "" of a record
	Kind     string    `json:"kind"`      // of a record; "" of a step
	Millis   *float64  `json:"ms"`        // since the tunnel's step before; null for its first, and of a record
	Actor    string    `json:"actor"`     // who asked for the tunnel, or did what is on record; "" = the engine, an agent, or said with the tunnel's first step
	Source   string    `json:"source"`
	Target   string    `json:"target"`
	Result   string    `json:"result"` // of a record: done, refused or failed
	Reason   string    `json:"reason"` // of the step ended, and of some records
	Detail   string    `json:"detail"`
}

// apiTimeline is the last steps of a device.
func (s *Server) apiTimeline(r *http.Request, p principal) (any, error) {
	d, err := s.device(r.Context(), p, chi.URLParam(r, "id"))
	if err != nil {
		return nil, err
	}
	all, err := s.config.Manager.Timeline(r.Context(), d.ID)
	if err != nil {
		return nil, err
	}
	answer := timelineAnswer{DeviceID: d.ID, Moments: []momentAnswer{}}
	for _, m := range all {
		answer.Moments = append(answer.Moments, answerMoment(m))
	}
	return answer, nil
}

func answerMoment(m tunnel.Moment) momentAnswer {
	if m.Step == "" {
		r := m.Record
		return momentAnswer{
			At: m.At.UTC(), TunnelID: m.TunnelID, Kind: r.Kind, Actor: r.Actor, Source: r.Source, Target: r.Target,
			Result: r.Result, Reason: r.Reason, Detail: r.Detail,
		}
	}
	a := momentAnswer{
		At: m.At.UTC(), TunnelID: m.TunnelID, Step: string(m.Step), Actor: m.Operator, Reason: string(m.Reason), Detail: m.Detail,
	}
	if !m.First {
		took := float64(m.Took.Microseconds()) / 1000
		a.Millis = &took
	}
	return a
}

// historyView is a device's timeline as its page shows it: tunnel by tunnel.
func (s *Server) historyView(ctx context.Context, deviceID string) (views.History, error) {
	all, err := s.config.Manager.Timeline(ctx, deviceID)
	if err != nil {
		return views.History{}, err
	}
	var v views.History
	if len(all) == timelineMost {
		v.Most = timelineMost
	}
	at := make(map[string]int) // index of a tunnel's block
	for _, m := range all {
		i, known := at[m.TunnelID]
		last := len(v.Blocks) - 1
		switch {
		case m.TunnelID == "" && last >= 0 && v.Blocks[last].Tunnel == "":
			i = last
		case m.TunnelID == "" || !known:
			i = len(v.Blocks)
			v.Blocks = append(v.Blocks, views.HistoryBlock{Tunnel: m.TunnelID})
			if m.TunnelID != "" {
				at[m.TunnelID] = i
			}
		}
		b := &v.Blocks[i]
		b.Steps = append(b.Steps, views.HistoryStep{
			At: m.At, Step: string(m.Step), Detail: m.Detail, Took: m.Took, First: m.First, Event: eventView(m.Record),
		})
		if m.Reason != "" {
			b.End = endingView(m.Reason)
		}
		if m.Operator != "" {
			b.Operator = m.Operator
		}
	}
	for _, b := range v.Blocks {
		slices.Reverse(b.Steps) // in a tunnel, people follow what came after what
	}
	return v, nil
}
