package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"
	"borealis/views"

	"github.com/a-h/templ"
	"github.com/go-chi/chi/v5"
)

const (
	recentEvents  = 6  // on a device's summary
	eventsPerPage = 50 // of activity
)

// deviceHome leads to the first tab of a device.
func deviceHome(w http.ResponseWriter, r *http.Request, _ principal) error {
	http.Redirect(w, r, devicePath(chi.URLParam(r, "id"), views.TabSummary), http.StatusSeeOther)
	return nil
}

// devicePage is one tab of a device's page.
func (s *Server) devicePage(r *http.Request, p principal) (templ.Component, error) {
	id, tab := chi.URLParam(r, "id"), chi.URLParam(r, "tab")
	if !slices.Contains([]string{views.TabSummary, views.TabConfig, views.TabShell, views.TabActivity}, tab) {
		return nil, refuse(codeNotFound, "A device's page has no part of that name.")
	}
	before, err := cursor(r.URL.Query())
	if err != nil {
		return nil, err
	}
	v, err := s.deviceView(r.Context(), p, id, tab, before)
	if err != nil {
		return nil, err
	}
	if isPart(r, "panel") {
		return views.DevicePanel(v), nil
	}
	frame, err := s.frame(r, p, v.Hostname, "devices", "device:"+v.ID)
	if err != nil {
		return nil, err
	}
	return views.DevicePage(frame, v), nil
}

// deviceView is a device as its page shows it.
func (s *Server) deviceView(ctx context.Context, p principal, id, tab string, before int64) (views.Device, error) {
	d, err := s.device(ctx, id)
	if err != nil {
		return views.Device{}, err
	}
	st, err := s.config.Manager.Status(ctx, id)
	if err != nil {
		return views.Device{}, err
	}
	v := views.Device{
		Now: time.Now(), Tab: tab, ID: d.ID, Hostname: d.Hostname, OS: d.OS, OSVersion: d.OSVersion, Arch: d.Arch,
		AgentVersion: d.AgentVersion, Link: d.Link, Pin: d.Pin, Site: d.Site, State: d.State,
		CreatedAt: d.CreatedAt, LastSeen: d.LastSeen, VirtualIP: addressText(d.VirtualIP),
		Tunnel: tunnelView(st, p), Attached: attached(st, p), CanManage: p.may(access.ManageDevices),
		Allowed: allowedView(st.AllowedPorts), Before: before,
	}
	if v.Ports, err = s.portsView(ctx, p, d, st, v.Now); err != nil {
		return views.Device{}, err
	}
	if presence, ok := s.config.Manager.Online(id); ok {
		v.Online, v.OnlineSince, v.Address = true, presence.Since, presence.Addr
	}
	if err := s.config.Manager.Link().Err; err != nil {
		v.Unavailable = err.Error()
	}
	limit := recentEvents
	if tab == views.TabActivity {
		limit = eventsPerPage
	}
	v.Events, v.Older, err = s.eventsView(ctx, id, before, limit)
	return v, err
}

// device reads a device that a person or program named.
func (s *Server) device(ctx context.Context, id string) (store.Device, error) {
	d, err := s.config.Store.Device(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return store.Device{}, tunnel.ErrUnknownDevice
	}
	return d, err
}

// tunnelView is a tunnel as somebody sees it.
func tunnelView(st tunnel.Status, p principal) views.Tunnel {
	v := views.Tunnel{
		ID: st.TunnelID, DeviceID: st.DeviceID, State: string(st.State), Reason: string(st.Reason),
		VirtualIP: addressText(st.VirtualIP), EngineIP: addressText(st.EngineIP), Endpoint: st.Endpoint,
		ServerKey: st.ServerPublicKey, AgentKey: st.AgentPublicKey, Mode: string(st.Mode),
		RequestedAt: st.RequestedAt, UpAt: st.UpAt, EndedAt: st.EndedAt, LastHandshake: st.LastHandshake,
		ReceivedBytes: st.ReceivedBytes, SentBytes: st.SentBytes, Idle: st.Idle, IdleRemaining: st.IdleRemaining,
	}
	for _, o := range st.Operators {
		v.Operators = append(v.Operators, views.Attached{Name: o.Name, Kind: o.Kind, Since: o.Since, You: o.Name == p.operator.Name})
	}
	for _, step := range st.Timeline {
		v.Steps = append(v.Steps, views.Step{Name: step.Name, At: step.At, Detail: step.Detail})
	}
	return v
}

// attached reports whether a principal's operator uses a live tunnel.
func attached(st tunnel.Status, p principal) bool {
	return st.Live() && slices.ContainsFunc(st.Operators, func(a tunnel.Attached) bool { return a.Name == p.operator.Name })
}

// eventsView is one page of activity, of one device or of all, and the id that the
// next page begins before.
func (s *Server) eventsView(ctx context.Context, deviceID string, before int64, limit int) (events []views.Event, older int64, err error) {
	lines, older, err := s.activities(ctx, store.RecordQuery{DeviceID: deviceID, Before: before, Limit: limit})
	if err != nil {
		return nil, 0, err
	}
	for _, a := range lines {
		events = append(events, views.Event{
			ID: a.Seq, At: a.At, DeviceID: a.DeviceID, Hostname: a.Hostname, TunnelID: a.TunnelID,
			Actor: a.Actor, Kind: a.Kind, Reason: a.Reason, Detail: a.Detail,
		})
	}
	return events, older, nil
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

// devicePath is the path of a device's page or of something under it.
func devicePath(id, below string) string { return "/devices/" + url.PathEscape(id) + "/" + below }
