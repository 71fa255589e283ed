package handlers

import (
	"context"
	"slices"
	"time"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/views"
)

const (
	queueShown    = 100            // devices that wait, on one page
	refusalsShown = 8              // refused codes
	refusalsSpan  = 24 * time.Hour // of the refused codes that are counted
	manyRefusals  = 20             // in that time: somebody should look
)

// queueView is the devices that wait for approval, who waits longest first.
func (s *Server) queueView(ctx context.Context, p principal) (views.Queue, error) {
	v := views.Queue{Now: time.Now(), Most: store.MaxPending, Life: pendingLife, CanManage: p.may(access.ManageDevices)}
	found, total, err := s.config.Store.Devices(ctx, store.DeviceQuery{Scope: p.scope(), State: store.Pending, Limit: store.MaxPage})
	if err != nil {
		return v, err
	}
	v.Total = total
	slices.SortStableFunc(found, func(a, b store.Device) int { return a.CreatedAt.Compare(b.CreatedAt) })
	for _, d := range found[:min(len(found), queueShown)] {
		w := views.Waiting{
			ID: d.ID, Hostname: d.Hostname, OS: d.OS, OSVersion: d.OSVersion, Arch: d.Arch, Site: d.Site,
			Words: wordsOf(d), Pin: d.Pin, Since: d.CreatedAt,
		}
		if presence, online := s.config.Manager.Online(d.ID); online {
			w.Address = presence.Addr
		}
		if w.Known, err = s.knownView(ctx, p, d); err != nil {
			return v, err
		}
		v.Waiting = append(v.Waiting, w)
	}
	return v, nil
}

// wrongCodesView counts who tried to enrol with a code that was not good.
func (s *Server) wrongCodesView(ctx context.Context, now time.Time) (views.WrongCodes, error) {
	v := views.WrongCodes{Now: now, Resting: s.wrongCodes.spent()}
	q := store.RecordQuery{Scope: store.Scope{All: true}, Kind: enrolmentRefused, From: now.Add(-refusalsSpan), Limit: store.MaxPage}
	var err error
	if v.Count, err = s.config.Store.CountRecords(ctx, q); err != nil {
		return v, err
	}
	v.Many = v.Count >= manyRefusals
	lines, err := s.config.Store.Records(ctx, q)
	sources := make(map[string]bool)
	for _, line := range lines {
		if line.Source == "" {
			continue // a line that counts others
		}
		sources[line.Source] = true
		if len(v.Last) < refusalsShown {
			v.Last = append(v.Last, views.Refusal{At: line.At, Source: line.Source, Reason: line.Reason})
		}
	}
	v.Sources = len(sources)
	return v, err
}
