package tunnel

import (
	"context"
	"fmt"
	"slices"
	"time"

	"borealis/store"
)

// timelineMost is how many moments [Manager.Timeline] returns at most. A tunnel that has ended
// has two steps at least, so half as many tunnels, and the live one, are enough.
const timelineMost = 200

// A Moment is one thing that happened to a device: a step of a tunnel, or a record of something
// else.
type Moment struct {
	At       time.Time
	TunnelID string // of the tunnel that it belongs to; empty for what belongs to none

	// Of a step of a tunnel.
	Step     State         // empty: it is a record
	Operator string        // who asked for the tunnel; only of its first step
	Reason   Reason        // why it ended; only of its last step
	Detail   string        // what people should know about the step
	First    bool          // of its tunnel
	Took     time.Duration // since the tunnel's step before; zero for the first

	// Of something else.
	Record store.Record // with an empty kind: it is a step
}

// Timeline returns the last steps of a device, newest first, at most two hundred: those of its
// tunnels, the live one among them, and what else is on record about it. The error is
// [ErrUnknownDevice] for an unknown device.
func (m *Manager) Timeline(ctx context.Context, deviceID string) ([]Moment, error) {
	if _, err := m.lookUp(ctx, deviceID); err != nil {
		return nil, err
	}
	past, err := m.config.Store.Tunnels(ctx, deviceID, timelineMost/2+1)
	if err != nil {
		return nil, fmt.Errorf("read the tunnels: %w", err)
	}
	records, err := m.config.Store.Records(ctx, store.RecordQuery{Scope: store.Scope{All: true}, DeviceID: deviceID, Limit: timelineMost})
	if err != nil {
		return nil, fmt.Errorf("read the records: %w", err)
	}
	tunnels := make(map[string]int) // index in past, by id
	for i, t := range past {
		tunnels[t.ID] = i
	}
	m.livelyTunnel(deviceID, past)
	all := make([]Moment, 0, 2*timelineMost)
	ends := make([]string, len(past)) // what is on record about each tunnel's end
	for _, r := range records {
		i, of := tunnels[r.TunnelID]
		switch {
		case of && r.Kind == "tunnel_down":
			ends[i] = r.Detail
		case of && (r.Kind == "tunnel_requested" || r.Kind == "tunnel_up"): // steps of the tunnel
		default:
			all = append(all, Moment{At: r.At, TunnelID: r.TunnelID, Record: r})
		}
	}
	for i, t := range past {
		all = append(all, moments(t, ends[i])...)
	}
	slices.SortStableFunc(all, func(a, b Moment) int { return b.At.Compare(a.At) })
	return all[:min(len(all), timelineMost)], nil
}

// livelyTunnel gives the device's live tunnel its steps as they are now: those that are stored are
// behind.
func (m *Manager) livelyTunnel(deviceID string, past []store.Tunnel) {
	s := m.session(deviceID)
	if s == nil || s.device.ID != deviceID {
		return
	}
	i := slices.IndexFunc(past, func(t store.Tunnel) bool { return t.ID == s.id })
	if i < 0 {
		return // it began a moment ago
	}
	past[i].Steps = s.timeline()
	s.mu.Lock()
	defer s.mu.Unlock()
	past[i].Reason = string(s.reason)
}

// moments are the steps of a tunnel, newest first; end is what its end is on record with.
func moments(t store.Tunnel, end string) []Moment {
	all := make([]Moment, len(t.Steps))
	for i, step := range t.Steps {
		one := Moment{At: step.At, TunnelID: t.ID, Step: State(step.Name), Detail: step.Detail}
		if i == 0 {
			one.First, one.Operator = true, t.Operator
		} else {
			one.Took = max(step.At.Sub(t.Steps[i-1].At), 0)
		}
		if one.Step == Ended {
			one.Reason, one.Detail = Reason(t.Reason), ""
			if i == 0 || t.Steps[i-1].Detail != end { // else the step before says it
				one.Detail = end
			}
		}
		all[len(all)-1-i] = one
	}
	return all
}
