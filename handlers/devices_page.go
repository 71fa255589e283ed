package handlers

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"borealis/store"
	"borealis/tunnel"
	"borealis/views"

	"github.com/a-h/templ"
)

const (
	devicesPerPage = 50
	maxSearch      = 200 // characters
	maxPage        = 1 << 20
)

// devicesPage is the list of devices.
func (s *Server) devicesPage(r *http.Request, p principal) (templ.Component, error) {
	q, page := deviceQuery(r, p)
	list := views.Devices{
		Query: q.Text, Site: r.URL.Query().Get("site"), State: q.State, Page: page, PageSize: devicesPerPage,
	}
	found, matching, err := s.config.Store.Devices(r.Context(), q)
	if err != nil {
		return nil, err
	}
	frame, err := s.frame(r, p, "Devices", "devices", "devices")
	if err != nil {
		return nil, err
	}
	list.Now, list.Matching, list.Total = frame.Now, matching, frame.Devices
	if list.Rows, err = s.rows(r.Context(), found); err != nil {
		return nil, err
	}
	if list.Sites, err = s.sitesOf(r.Context(), p); err != nil {
		return nil, err
	}
	if isPart(r, "list") {
		return views.DeviceList(list), nil
	}
	return views.DevicesPage(frame, list), nil
}

// deviceQuery is the part of the list that ?q=, ?site=, ?state= and ?page= choose.
func deviceQuery(r *http.Request, p principal) (q store.DeviceQuery, page int) {
	query := r.URL.Query()
	page, err := strconv.Atoi(query.Get("page"))
	if err != nil || page < 1 || page > maxPage {
		page = 1
	}
	q = store.DeviceQuery{
		Scope: p.scope(), Text: clean(query.Get("q"), maxSearch), State: query.Get("state"),
		Limit: devicesPerPage, Offset: (page - 1) * devicesPerPage,
	}
	if site := query.Get("site"); site != "" {
		q.Scope = within(q.Scope, site)
	}
	return q, page
}

// within is the part of a scope that is one site; nothing when the site is not in it.
func within(scope store.Scope, site string) store.Scope {
	if !scope.Has(site) {
		return store.Scope{}
	}
	return store.Scope{Sites: []string{site}}
}

// sitesOf are the sites that a principal can choose from.
func (s *Server) sitesOf(ctx context.Context, p principal) ([]string, error) {
	sites, err := s.config.Store.Sites(ctx)
	scope := p.scope()
	return slices.DeleteFunc(sites, func(site string) bool { return !scope.Has(site) }), err
}

// rows are devices as the list shows them.
func (s *Server) rows(ctx context.Context, devices []store.Device) ([]views.Row, error) {
	locks, err := s.config.Store.Locks(ctx, time.Now())
	if err != nil {
		return nil, err
	}
	live := make(map[string]tunnel.Status)
	for _, t := range s.config.Manager.Tunnels() {
		live[t.DeviceID] = t
	}
	online := s.config.Manager.OnlineIDs()
	rows := make([]views.Row, 0, len(devices))
	for _, d := range devices {
		rows = append(rows, row(d, online[d.ID], live[d.ID], locks))
	}
	return rows, nil
}

// row is a device in the list, with its live tunnel or none.
func row(d store.Device, online bool, t tunnel.Status, locks []store.Lock) views.Row {
	v := views.Row{
		ID: d.ID, Hostname: d.Hostname, OS: d.OS, OSVersion: d.OSVersion, State: d.State, Site: d.Site,
		Online: online, LastSeen: d.LastSeen, TunnelState: "down", Locked: deviceLock(locks, d) != nil,
	}
	if t.Live() {
		v.TunnelState, v.VirtualIP, v.Operators = string(t.State), addressText(t.VirtualIP), len(t.Operators)
	}
	return v
}

// rowOf is one device's row as it is now.
func (s *Server) rowOf(ctx context.Context, p principal, id string) (views.Row, error) {
	d, err := s.device(ctx, p, id)
	if err != nil {
		return views.Row{}, err
	}
	rows, err := s.rows(ctx, []store.Device{d})
	if err != nil {
		return views.Row{}, err
	}
	return rows[0], nil
}
