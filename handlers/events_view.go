package handlers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"time"

	"borealis/store"
	"borealis/tunnel"
	"borealis/views"

	"github.com/a-h/templ"
)

const (
	maxChanges  = 200  // devices of which changes are noted before everything counts as changed
	maxElements = 1000 // that are remembered as sent
)

// A liveView draws the parts of one page that change by themselves, and remembers what
// the page has already. It is for one goroutine.
type liveView struct {
	server *Server
	p      principal
	frame  views.Page
	kind   string            // devices, tunnels, enrolment, device, or "" for a page without live parts
	device string            // id; of the kind device
	query  store.DeviceQuery // of the kind devices: what the list shows

	subject store.Device // of the kind device, as it was when the stream began

	sent    map[string][sha256.Size]byte // what the page has, by element id
	pending map[string]bool              // devices with changes
	all     bool                         // everything may have changed
	live    bool                         // a live tunnel is on the page
}

// liveView reads which page a stream is for.
func (s *Server) liveView(r *http.Request, p principal) (_ *liveView, err error) {
	v := &liveView{
		server: s, p: p, frame: s.bareFrame(r, ""),
		sent: make(map[string][sha256.Size]byte), pending: make(map[string]bool),
	}
	v.query, _ = deviceQuery(r, p)
	name := r.URL.Query().Get("view")
	kind, id, _ := strings.Cut(name, ":")
	switch {
	case kind == "device" && id != "":
		if v.subject, err = s.device(r.Context(), p, id); err != nil {
			return nil, err
		}
		v.kind, v.device, v.frame.Section = kind, id, "devices"
	case name == "devices", name == "tunnels", name == "enrolment", name == "":
		v.kind, v.frame.Section = name, name
	default:
		return nil, invalid("view", "There is no view of that name.")
	}
	v.frame.View, v.frame.Operator = name, p.operator.Name
	return v, nil
}

// change notes that something about a device changed; "" is about everything.
func (v *liveView) change(device string) {
	if device == "" || len(v.pending) >= maxChanges {
		v.all = true
	} else {
		v.pending[device] = true
	}
}

// ticks reports whether the page shows something that changes without an event.
func (v *liveView) ticks() bool { return v.live && v.kind != "devices" }

// changed draws what has changed and returns the fragments that the page does not
// have yet; "" when there are none.
func (v *liveView) changed(ctx context.Context) (string, error) {
	devices, all := v.pending, v.all
	v.pending, v.all = make(map[string]bool), false
	if err := v.server.count(ctx, v.p, &v.frame); err != nil {
		return "", err
	}
	var html bytes.Buffer
	for _, part := range []struct {
		id string
		templ.Component
	}{{"nav", views.Sidebar(v.frame)}, {"banner", views.Banner(v.frame.Banner)}} {
		if err := v.add(ctx, &html, part.id, part.Component); err != nil {
			return "", err
		}
	}
	var err error
	switch {
	case v.kind == "device" && (all || devices[v.device]):
		err = v.drawDevice(ctx, &html)
	case v.kind == "devices":
		err = v.drawRows(ctx, &html, devices, all)
	case v.kind == "tunnels":
		err = v.drawTunnels(ctx, &html)
	case v.kind == "enrolment":
		err = v.drawQueue(ctx, &html)
	}
	return html.String(), err
}

func (v *liveView) drawDevice(ctx context.Context, html *bytes.Buffer) error {
	d, err := v.server.deviceView(ctx, v.p, v.device, views.TabSummary, 0)
	if err != nil {
		return err
	}
	v.live = d.Tunnel.Live()
	for _, part := range []struct {
		id string
		templ.Component
	}{
		{"device-head", views.DeviceHead(d)},
		{"own-policy", views.OwnPolicy(d)},
		{"tunnel-card", views.TunnelCard(d)},
		{"device-activity", views.RecentActivity(d)},
		{"terminal-start", views.TerminalStart(d)},
	} {
		if err := v.add(ctx, html, part.id, part.Component); err != nil {
			return err
		}
	}
	still := d
	still.Now = time.Time{}
	if err := v.addAs(ctx, html, "hardware", views.HardwareCard(d), views.HardwareCard(still)); err != nil {
		return err
	}
	if err := v.addAs(ctx, html, "agent-update", views.AgentUpdate(d), views.AgentUpdate(still)); err != nil {
		return err
	}
	if d.Tunnel.ID != "" {
		still.Now = d.Tunnel.EndedAt // whether the attempt failed counts, and not how long ago
	}
	if err := v.addAs(ctx, html, "doctor", views.DoctorCard(d), views.DoctorCard(still)); err != nil {
		return err
	}
	timeless := d.Ports
	timeless.Now = time.Time{}
	return v.addAs(ctx, html, "ports", views.PortsCard(d.Ports), views.PortsCard(timeless))
}

func (v *liveView) drawQueue(ctx context.Context, html *bytes.Buffer) error {
	q, err := v.server.queueView(ctx, v.p)
	if err != nil {
		return err
	}
	timeless := q
	timeless.Now = time.Time{}
	return v.addAs(ctx, html, "pending", views.PendingQueue(q), views.PendingQueue(timeless))
}

func (v *liveView) drawTunnels(ctx context.Context, html *bytes.Buffer) error {
	t, err := v.server.tunnelsView(ctx, v.p)
	if err != nil {
		return err
	}
	v.live = len(t.Live) > 0
	return v.add(ctx, html, "tunnel-list", views.TunnelList(t))
}

// drawRows draws the rows of some devices, or of all that the list shows.
func (v *liveView) drawRows(ctx context.Context, html *bytes.Buffer, devices map[string]bool, all bool) error {
	var rows []views.Row
	if all {
		found, _, err := v.server.config.Store.Devices(ctx, v.query)
		if err != nil {
			return err
		}
		if rows, err = v.server.rows(ctx, found); err != nil {
			return err
		}
	} else {
		for id := range devices {
			row, err := v.server.rowOf(ctx, v.p, id)
			if errors.Is(err, tunnel.ErrUnknownDevice) {
				continue
			}
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
	}
	var drawn bytes.Buffer
	for _, row := range rows {
		if err := v.add(ctx, &drawn, "row-"+row.ID, views.DeviceRow(v.frame.Now, row)); err != nil {
			return err
		}
	}
	if drawn.Len() > 0 { // outside of a table, a browser drops rows
		html.WriteString("<table><tbody>" + drawn.String() + "</tbody></table>")
	}
	return nil
}

// add draws an element, unless the page has it as it is.
func (v *liveView) add(ctx context.Context, html *bytes.Buffer, id string, c templ.Component) error {
	return v.addAs(ctx, html, id, c, c)
}

// addAs is add for an element that says how long ago something was: same is drawn
// alike as long as nothing else changes.
func (v *liveView) addAs(ctx context.Context, html *bytes.Buffer, id string, c, same templ.Component) error {
	var drawn bytes.Buffer
	if err := same.Render(ctx, &drawn); err != nil {
		return err
	}
	sum := sha256.Sum256(drawn.Bytes())
	if had, known := v.sent[id]; known && had == sum {
		return nil
	}
	if len(v.sent) >= maxElements {
		clear(v.sent) // at worst something is sent twice
	}
	v.sent[id] = sum
	return c.Render(ctx, html)
}
