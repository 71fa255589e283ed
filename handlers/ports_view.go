package handlers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"borealis/acl"
	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"
	"borealis/views"
)

// changeSearch is how many events are looked through for the last change of the ports.
const changeSearch = 50

// portsView is the card of a device's allowed ports as somebody sees it.
func (s *Server) portsView(ctx context.Context, p principal, d store.Device, st tunnel.Status, now time.Time) (views.Ports, error) {
	have, err := s.config.Manager.Ports(ctx, d.ID)
	if err != nil {
		return views.Ports{}, err
	}
	v := views.Ports{
		Now: now, DeviceID: d.ID, Revision: have.Policy.Revision,
		CanChange: p.may(access.ChangePorts), CanCheck: p.may(access.Connect),
		Tunnel: string(st.State), Confirmed: have.Confirmed, Proving: have.Proving,
	}
	if have.TunnelID != "" && have.TunnelID == st.TunnelID {
		v.Proof = proofView(have.Proof, have.Policy.Revision)
	}
	for _, row := range have.Policy.Rows(now) {
		v.Rows = append(v.Rows, portRow(row, v.Proof, have.Proof))
	}
	v.Changed, err = s.lastChange(ctx, d.ID, have.Policy)
	return v, err
}

func portRow(row acl.Row, shown views.Proof, proof tunnel.Proof) views.PortRow {
	v := views.PortRow{
		ID: rowID(row), Custom: row.Service == "", Name: row.Name, Hint: row.Hint,
		Allowed: row.Allowed, Default: row.Default, Ports: portTexts(row.Ports),
	}
	if o := row.Override; o != nil {
		v.By, v.At, v.Until, v.Reason = o.By, o.At, o.Until, o.Reason
	}
	if shown.At.IsZero() || shown.Stale {
		return v
	}
	for _, probe := range slices.Concat(proof.Open, proof.Closed) {
		if acl.Contains(row.Ports, probe.Port.Protocol, probe.Port.From) {
			v.Probes = append(v.Probes, probeView(probe))
		}
	}
	return v
}

// rowID names a row in forms: a service by its id, a custom port by its numbers.
func rowID(row acl.Row) string {
	if row.Service != "" {
		return row.Service
	}
	p := row.Ports[0]
	if p.From == p.To {
		return fmt.Sprintf("%s-%d", p.Protocol, p.From)
	}
	return fmt.Sprintf("%s-%d-%d", p.Protocol, p.From, p.To)
}

func portTexts(ports []acl.Port) []string {
	texts := make([]string, 0, len(ports))
	for _, p := range ports {
		texts = append(texts, p.String())
	}
	return texts
}

// proofView is a proof as the page shows it, beside a policy of a revision.
func proofView(p tunnel.Proof, revision int64) views.Proof {
	v := views.Proof{At: p.At, Took: p.Took, By: p.By, Stale: !p.At.IsZero() && p.Revision != revision, Alarms: p.Alarms}
	for _, o := range p.Open {
		v.Open = append(v.Open, probeView(o))
	}
	for _, c := range p.Closed {
		if c.Result == tunnel.Reachable {
			v.Reachable = append(v.Reachable, probeView(c))
		}
	}
	v.Refused = refusedSample(p)
	return v
}

// refusedSample counts the ports of the sample that are refused, as they should be.
func refusedSample(p tunnel.Proof) int {
	n := 0
	for _, c := range p.Closed {
		if c.Result == tunnel.Refused {
			n++
		}
	}
	return n
}

func probeView(p tunnel.Probe) views.Probe {
	return views.Probe{Port: p.Port.String(), Result: string(p.Result)}
}

// lastChange finds who changed a device's ports last. Events tell; when there were too
// many since, the newest override does.
func (s *Server) lastChange(ctx context.Context, deviceID string, p acl.Policy) (views.PortChange, error) {
	var last views.PortChange
	if p.Revision == 0 {
		return last, nil
	}
	events, err := s.config.Store.Records(ctx, store.RecordQuery{Scope: store.Scope{All: true}, DeviceID: deviceID, Limit: changeSearch})
	if err != nil {
		return last, err
	}
	for _, e := range events {
		if e.Kind == "ports_changed" || e.Kind == "port_override_expired" {
			return views.PortChange{By: e.Actor, At: e.At, What: e.Detail}, nil
		}
	}
	for _, o := range p.Overrides {
		if o.At.After(last.At) {
			last = views.PortChange{By: o.By, At: o.At}
		}
	}
	return last, nil
}

// allowedView names the ports that a tunnel opens.
func allowedView(open []acl.Port) []views.Port {
	names := make(map[string]string)
	for _, service := range acl.Services() {
		names[service.ID] = service.Name
	}
	lines := make([]views.Port, 0, len(open))
	for _, port := range open {
		lines = append(lines, views.Port{Name: names[port.Service], Port: port.String()})
	}
	return lines
}

// cut says which connections a change would cut, because their port is not among the
// ports that stay open; "" when there are none.
func cut(have tunnel.Ports, stay []acl.Port, now time.Time) (n int, where string) {
	counts := make(map[string]int)
	var order []string
	for _, flow := range have.Flows {
		if acl.Contains(stay, flow.Protocol, flow.Port) {
			continue
		}
		name := nameOf(have.Policy, flow.Protocol, flow.Port, now)
		if counts[name]++; counts[name] == 1 {
			order = append(order, name)
		}
		n++
	}
	parts := make([]string, 0, len(order))
	for i, name := range order {
		verb := "to "
		switch {
		case i == 0 && counts[name] == 1:
			verb = "connection is open to "
		case i == 0:
			verb = "connections are open to "
		}
		parts = append(parts, fmt.Sprintf("%d %s%s", counts[name], verb, name))
	}
	return n, strings.Join(parts, ", ")
}

// nameOf names the row that a port belongs to.
func nameOf(p acl.Policy, protocol string, port uint16, now time.Time) string {
	for _, row := range p.Rows(now) {
		if acl.Contains(row.Ports, protocol, port) {
			return rowName(row)
		}
	}
	return fmt.Sprintf("%d/%s", port, protocol)
}

// rowName is what people call a row.
func rowName(row acl.Row) string {
	switch {
	case row.Service == acl.ShellService:
		return row.Name + " (the live terminal)"
	case row.Name == "":
		return row.Ports[0].String()
	}
	return row.Name
}
