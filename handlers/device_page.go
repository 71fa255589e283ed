package handlers

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"borealis/handlers/access"
	"borealis/tunnel"
	"borealis/views"

	"github.com/a-h/templ"
	"github.com/go-chi/chi/v5"
)

// deviceHome leads to the first tab of a device.
func deviceHome(w http.ResponseWriter, r *http.Request, _ principal) error {
	http.Redirect(w, r, devicePath(chi.URLParam(r, "id"), views.TabSummary), http.StatusSeeOther)
	return nil
}

// devicePage is one tab of a device's page.
func (s *Server) devicePage(r *http.Request, p principal) (templ.Component, error) {
	id, tab := chi.URLParam(r, "id"), chi.URLParam(r, "tab")
	if !slices.Contains([]string{views.TabSummary, views.TabConfig, views.TabShell, views.TabTimeline, views.TabActivity}, tab) {
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
	for _, reason := range tunnel.Reasons() {
		v.Endings = append(v.Endings, endingView(reason))
	}
	return views.DevicePage(frame, v), nil
}

// deviceView is a device as its page shows it.
func (s *Server) deviceView(ctx context.Context, p principal, id, tab string, before int64) (views.Device, error) {
	d, err := s.device(ctx, p, id)
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
		Tunnel: tunnelView(st, p), Attached: attached(st, p), CanManage: p.may(access.ManageDevices), CanConnect: p.may(access.Connect),
		Allowed: allowedView(st.AllowedPorts), Before: before,
	}
	if v.Ports, err = s.portsView(ctx, p, d, st, v.Now); err != nil {
		return views.Device{}, err
	}
	if v.Standing, err = s.standingView(ctx, p, d); err != nil {
		return views.Device{}, err
	}
	if presence, ok := s.config.Manager.Online(id); ok {
		v.Online, v.OnlineSince, v.Address = true, presence.Since, presence.Addr
	}
	v.Update = s.updateView(d, st, v.Online)
	if err := s.config.Manager.Link().Err; err != nil {
		v.Unavailable = err.Error()
	}
	if v.Inventory, err = s.inventoryView(ctx, id); err != nil {
		return views.Device{}, err
	}
	if tab == views.TabTimeline {
		if v.History, err = s.historyView(ctx, id); err != nil {
			return views.Device{}, err
		}
	}
	limit := recentEvents
	if tab == views.TabActivity {
		limit = eventsPerPage
	}
	v.Events, v.Older, err = s.eventsView(ctx, id, before, limit)
	return v, err
}

// tunnelView is a tunnel as somebody sees it.
func tunnelView(st tunnel.Status, p principal) views.Tunnel {
	v := views.Tunnel{
		ID: st.TunnelID, DeviceID: st.DeviceID, State: string(st.State), End: endingView(st.Reason),
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

// endingView is why a tunnel ended, as people read it.
func endingView(reason tunnel.Reason) views.Ending {
	meaning, remedy, fault := reason.Explain()
	v := views.Ending{Reason: string(reason), Text: meaning, Hint: remedy, Kind: "warn"}
	switch {
	case fault || meaning == "": // of another version of the engine
		v.Kind = "err"
	case reason.Meant():
		v.Kind = "idle"
	}
	v.Text = cmp.Or(v.Text, strings.ReplaceAll(v.Reason, "_", " "))
	return v
}

// attached reports whether a principal's operator uses a live tunnel.
func attached(st tunnel.Status, p principal) bool {
	return st.Live() && slices.ContainsFunc(st.Operators, func(a tunnel.Attached) bool { return a.Name == p.operator.Name })
}

// devicePath is the path of a device's page or of something under it.
func devicePath(id, below string) string { return "/devices/" + url.PathEscape(id) + "/" + below }
