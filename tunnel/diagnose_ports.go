package tunnel

import (
	"fmt"

	"borealis/acl"
	"borealis/agent/checkup"
	"borealis/agent/wire"
)

// examined is what trying the ports of a live tunnel showed.
type examined struct {
	session *session
	tried   []triedPort
	banner  checkup.Finding // of the shell; without a name: it was not read
}

// ports says of each port whether it is allowed and, when it was tried, what answers there. With
// nil none was.
func (x *diagnosis) ports(e *examined) {
	if e != nil {
		for _, t := range e.tried {
			if t.row.Allowed {
				x.open(e.session, t)
				if e.banner.Name != "" && t.port.Contains(acl.TCP, wire.ShellPort) {
					x.all = append(x.all, e.banner)
				}
			}
		}
	} else if n := len(x.policy.Allowed(x.now)); n > 0 {
		x.note("ports", "Ask again when a tunnel is up.", "%d are allowed; they can be tried through a tunnel that is up", n)
	}
	for _, row := range x.policy.Rows(x.now) {
		if !row.Allowed {
			x.closed(row)
		}
	}
}

// open says what became of the attempt on an allowed port.
func (x *diagnosis) open(s *session, t triedPort) {
	name, what := "port "+t.port.String(), serviceName(t.row)
	// Whether a service that every device is offered with runs there is the owner's business; one
	// that somebody allowed is missed.
	wanted := t.row.Service == acl.ShellService || t.row.Override != nil
	tell := x.note
	if wanted {
		tell = x.unwell
	}
	switch {
	case t.outcome == notTried:
		x.note(name, "Ask again.", "%snot tried: the time was up", what)
		return
	case t.outcome == answered:
		x.well(name, "%sanswers", what)
	case t.outcome == denied || !s.dials(single(t.port.Protocol, t.port.From)):
		x.unwell(name, "The engine mends that within a second; if it does not, see what changes the packet filter of its host.", "%sallowed by policy, and the engine's host refuses it", what)
	case t.outcome == refused && !s.confirmed():
		x.unwell(name, "See whether the agent is still connected; \"local policy\" above says what the device's owner limits.", "%sallowed by policy, and the device has not said that it opened it", what)
	case t.outcome == refused:
		tell(name, "Start the service on the device, or see which port it listens on.", "%snobody listens there: the device refused the connection", what)
	case t.port.Protocol == acl.UDP:
		x.note(name, "Try it with its own program.", "%sno answer, which many UDP services do not give to a stranger", what)
	default:
		tell(name, "Let the device's own firewall accept it from "+x.manager.engineIP.String()+", and see that the service runs.", "%sfiltered: no answer from the device", what)
	}
	x.all[len(x.all)-1].Took = float64(t.took.Microseconds()) / 1000
}

// closed says that the policy denies a row, which no network has a part in.
func (x *diagnosis) closed(row acl.Row) {
	what := serviceName(row)
	for _, p := range row.Ports {
		text := what + "closed by policy"
		if o := row.Override; o != nil && o.By != "" {
			text += fmt.Sprintf(", by %s", o.By)
			if o.Reason != "" {
				text += fmt.Sprintf(" (%s)", o.Reason)
			}
		}
		const hint = "To use it, allow it under Advanced Config."
		if row.Service == acl.ShellService {
			x.unwell("port "+p.String(), hint, "%s", text)
			continue
		}
		x.note("port "+p.String(), hint, "%s", text)
	}
}

// serviceName begins a sentence about a row.
func serviceName(row acl.Row) string {
	if row.Name == "" {
		return ""
	}
	return row.Name + ": "
}
