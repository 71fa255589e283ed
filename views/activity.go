package views

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Event is one line of activity.
type Event struct {
	ID       int64
	At       time.Time
	DeviceID string // "" = about no device
	Hostname string // shown in the list over all devices
	TunnelID string
	Actor    string // operator's name; "" = the engine or an agent
	Source   string // the address that it came from; "" = the engine's host
	Kind     string // tunnel_up, operator_joined, …
	Target   string // what else is concerned: an operator, a site, …
	Result   string // refused or failed; done or "" = it went well
	Reason   string // why, where the kind does not say it
	End      Ending // of a tunnel_down
	Detail   string
	Steps    []Event // of a tunnel_requested: all lines of that tunnel, oldest first
}

// Activity is the list of what happened, over all devices.
type Activity struct {
	Now    time.Time
	Events []Event // newest first
	Older  int64   // id to ask with ?before= for more; 0 = no more
	Before int64   // the ?before= this page was asked with; 0 = newest
}

// who is the name of who did it, or which side of the channel it was that did.
func (e Event) who() string {
	switch {
	case e.Actor != "":
		return plain(e.Actor)
	case strings.HasPrefix(e.Kind, "agent_"):
		return "agent"
	}
	return "engine"
}

// said is the reason that a person gave in words of their own.
func (e Event) said() string {
	switch e.Kind {
	case "locked", "device_quarantined", "device_revoked":
		return kindWords(e.Reason)
	}
	return ""
}

// session says that the event stands for everything that happened in one tunnel.
func (e Event) session() bool { return e.Kind == "tunnel_requested" && len(e.Steps) > 0 }

// step is the first step of a kind.
func (e Event) step(kind string) (Event, bool) {
	i := slices.IndexFunc(e.Steps, func(s Event) bool { return s.Kind == kind })
	if i < 0 {
		return Event{}, false
	}
	return e.Steps[i], true
}

// using puts a session in words that follow the name of who asked for it, and picks
// its colour.
func (e Event) using(now time.Time) (text, kind string) {
	device := plain(cmp.Or(e.Hostname, e.DeviceID))
	up, wasUp := e.step("tunnel_up")
	down, over := e.step("tunnel_down")
	switch {
	case wasUp && over:
		return "used " + device + " for " + spanText(max(down.At.Sub(up.At), 0)) + e.others() + " · " + down.End.text(), down.End.kind()
	case wasUp:
		return "uses " + device + ", for " + spanText(max(now.Sub(up.At), 0)) + " so far" + e.others(), "ok"
	case over:
		return "did not reach " + device + " · " + down.End.text(), down.End.kind()
	}
	return "is connecting to " + device, "info"
}

// others names who joined.
func (e Event) others() string {
	var names []string
	for _, s := range e.Steps {
		if name := plain(s.Actor); s.Kind == "operator_joined" && s.Actor != e.Actor && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	const most = 3
	switch {
	case len(names) == 0:
		return ""
	case len(names) > most:
		names = append(names[:most], count(len(names)-most, "other"))
	}
	return " with " + strings.Join(names, ", ")
}

// stepDoing puts a step of the session in words that follow the actor's name.
func (e Event) stepDoing(s Event) (text, kind string) {
	switch s.Kind {
	case "tunnel_requested":
		return "asked for the tunnel", "info"
	case "tunnel_up":
		return "had it up in " + millisText(max(s.At.Sub(e.At), 0)), "ok"
	}
	return doing(s)
}

// offsetText is when a step happened, counted from the session's beginning.
func (e Event) offsetText(s Event) string {
	d := max(s.At.Sub(e.At), 0)
	switch {
	case d == 0:
		return "+0 ms"
	case d < time.Minute:
		return "+" + millisText(d)
	case d < 24*time.Hour:
		return "+" + clockText(d)
	}
	return "+" + spanText(d)
}
