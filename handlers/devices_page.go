package handlers

import (
	"context"
	"net/http"
	"strconv"

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
	q, page := deviceQuery(r)
	list := views.Devices{Query: q.Text, Page: page, PageSize: devicesPerPage}
	found, matching, err := s.config.Store.Devices(r.Context(), q)
	if err != nil {
		return nil, err
	}
	frame, err := s.frame(r, p, "Devices", "devices", "devices")
	if err != nil {
		return nil, err
	}
	list.Now, list.Matching, list.Total = frame.Now, matching, frame.Devices
	list.Rows = s.rows(found)
	if isPart(r, "list") {
		return views.DeviceList(list), nil
	}
	return views.DevicesPage(frame, list), nil
}

// deviceQuery is the part of the list that ?q= and ?page= choose.
func deviceQuery(r *http.Request) (q store.DeviceQuery, page int) {
	query := r.URL.Query()
	page, err := strconv.Atoi(query.Get("page"))
	if err != nil || page < 1 || page > maxPage {
		page = 1
	}
	return store.DeviceQuery{
		Text: clean(query.Get("q"), maxSearch), Limit: devicesPerPage, Offset: (page - 1) * devicesPerPage,
	}, page
}

// rows are devices as the list shows them.
func (s *Server) rows(devices []store.Device) []views.Row {
	live := make(map[string]tunnel.Status)
	for _, t := range s.config.Manager.Tunnels() {
		live[t.DeviceID] = t
	}
	online := s.config.Manager.OnlineIDs()
	rows := make([]views.Row, 0, len(devices))
	for _, d := range devices {
		rows = append(rows, row(d, online[d.ID], live[d.ID]))
	}
	return rows
}

// row is a device in the list, with its live tunnel or none.
func row(d store.Device, online bool, t tunnel.Status) views.Row {
	v := views.Row{
		ID: d.ID, Hostname: d.Hostname, OS: d.OS, OSVersion: d.OSVersion, State: d.State, Site: d.Site,
		Online: online, LastSeen: d.LastSeen, TunnelState: "down",
	}
	if t.Live() {
		v.TunnelState, v.VirtualIP, v.Operators = string(t.State), addressText(t.VirtualIP), len(t.Operators)
	}
	return v
}

// rowOf is one device's row as it is now.
func (s *Server) rowOf(ctx context.Context, id string) (views.Row, error) {
	d, err := s.config.Store.Device(ctx, id)
	if err != nil {
		return views.Row{}, err
	}
	t, err := s.config.Manager.Status(ctx, id)
	if err != nil {
		return views.Row{}, err
	}
	_, online := s.config.Manager.Online(id)
	return row(d, online, t), nil
}
