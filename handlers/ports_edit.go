package handlers

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"borealis/acl"
	"borealis/views"
)

// A portsEdit is what a form of the ports asks for.
type portsEdit struct {
	overrides []acl.Override // the whole set that is wanted
	done      string         // what is said once it is done
	question  string         // what is asked before, when there is something to ask
	do        string         // what the question's button says
}

// A fieldError says which field of a form is wrong.
type fieldError struct{ field, text string }

func (e *fieldError) Error() string { return e.text }

// errNoRow says that a form is about a row that is not there.
var errNoRow = errors.New("there is no such port any more")

// editPorts works out what a form asks for; the error is a [*fieldError], [errNoRow],
// or a failure.
func editPorts(act string, p acl.Policy, fields url.Values, now time.Time) (portsEdit, error) {
	switch act {
	case "set":
		return editRow(p, fields, now)
	case "default", "remove":
		return dropRow(p, fields, now)
	case "add":
		return addRow(p, fields, now)
	case "reset":
		return portsEdit{
			done:     "The defaults are back.",
			question: "Reset the ports to the defaults?", do: "Reset to defaults",
		}, nil
	case "close":
		return closeAll(p, now), nil
	}
	return portsEdit{}, refuse(codeNotFound, "There is nothing of that name to do with ports.")
}

// findRow finds the row that a form is about.
func findRow(p acl.Policy, fields url.Values, now time.Time) (acl.Row, error) {
	for _, row := range p.Rows(now) {
		if rowID(row) == fields.Get("row") {
			return row, nil
		}
	}
	return acl.Row{}, errNoRow
}

// override is what was decided about a row, or an override that decides nothing yet.
func override(row acl.Row) acl.Override {
	switch {
	case row.Override != nil:
		return *row.Override
	case row.Service == "":
		return acl.Override{Port: row.Ports[0], Label: row.Name}
	}
	return acl.Override{Service: row.Service}
}

// without are the overrides that are not about what o is about, and have not expired.
func without(p acl.Policy, o acl.Override, now time.Time) []acl.Override {
	rest := current(p, now)
	return slices.DeleteFunc(rest, o.About)
}

// current are the overrides that hold.
func current(p acl.Policy, now time.Time) []acl.Override {
	var hold []acl.Override
	for _, row := range p.Rows(now) {
		if row.Override != nil {
			hold = append(hold, *row.Override)
		}
	}
	return hold
}

// editRow is a switch, or with "detailed" the form that also says how long and why.
func editRow(p acl.Policy, fields url.Values, now time.Time) (portsEdit, error) {
	row, err := findRow(p, fields, now)
	if err != nil {
		return portsEdit{}, err
	}
	o := override(row)
	o.Allowed = fields.Get("allowed") == "1"
	span := ""
	switch {
	case fields.Get("detailed") == "1":
		o.Reason = strings.TrimSpace(fields.Get("reason"))
		if o.Until, span, err = until(fields, now); err != nil {
			return portsEdit{}, err
		}
	case row.Service != "":
		o.Until, o.Reason = time.Time{}, "" // a switch decides anew, and for good
	}
	e := portsEdit{overrides: without(p, o, now)}
	if row.Service == "" || o.Allowed != row.Default || !o.Until.IsZero() || o.Reason != "" {
		e.overrides = append(e.overrides, o)
	}
	name := plainName(row)
	if o.Allowed {
		e.done = name + " is allowed" + span + "."
	} else {
		e.done, e.question, e.do = name+" is closed"+span+".", "Turn "+name+" off?", "Turn off"
	}
	return e, nil
}

// dropRow takes a custom port away, or what was decided about a service.
func dropRow(p acl.Policy, fields url.Values, now time.Time) (portsEdit, error) {
	row, err := findRow(p, fields, now)
	if err != nil {
		return portsEdit{}, err
	}
	e := portsEdit{overrides: without(p, override(row), now)}
	name := plainName(row)
	if row.Service == "" {
		e.done, e.question, e.do = name+" is removed.", "Remove "+name+"?", "Remove"
	} else {
		e.done, e.question, e.do = name+" is back to its default.", "Turn "+name+" off?", "Turn off"
	}
	return e, nil
}

// addRow adds a custom port.
func addRow(p acl.Policy, fields url.Values, now time.Time) (portsEdit, error) {
	port, err := acl.ParsePort(fields.Get("protocol"), fields.Get("port"))
	if err != nil {
		field := "port"
		if port.From != 0 && port.Protocol != acl.TCP && port.Protocol != acl.UDP {
			field = "protocol"
		}
		return portsEdit{}, &fieldError{field, err.Error()}
	}
	o := acl.Override{Port: port, Label: strings.TrimSpace(fields.Get("label")), Allowed: true}
	row := acl.Row{Name: o.Label, Ports: []acl.Port{port}}
	return portsEdit{
		overrides: append(current(p, now), o), done: plainName(row) + " is allowed.",
	}, nil
}

// closeAll closes every service and custom port.
func closeAll(p acl.Policy, now time.Time) portsEdit {
	e := portsEdit{done: "All ports are closed.", question: "Close all ports?", do: "Close all"}
	for _, row := range p.Rows(now) {
		o := override(row)
		if row.Allowed && row.Service != "" {
			o.Until, o.Reason = time.Time{}, ""
		}
		if o.Allowed = false; row.Allowed || row.Override != nil {
			e.overrides = append(e.overrides, o)
		}
	}
	return e
}

// changedRows are the ids of the rows that are not as they were.
func changedRows(before, after acl.Policy, now time.Time) []string {
	had := make(map[string]acl.Row)
	for _, row := range before.Rows(now) {
		had[rowID(row)] = row
	}
	var changed []string
	for _, row := range after.Rows(now) {
		old, ok := had[rowID(row)]
		same := ok && old.Allowed == row.Allowed && (old.Override == nil) == (row.Override == nil)
		if same && row.Override != nil {
			same = old.Override.Same(*row.Override)
		}
		if !same {
			changed = append(changed, rowID(row))
		}
	}
	return changed
}

// plainName is what people call a row, in a message about it.
func plainName(row acl.Row) string {
	if row.Name == "" {
		return row.Ports[0].String()
	}
	return clean(row.Name, acl.MaxLabel)
}

// until reads how long something is to hold, and says so.
func until(fields url.Values, now time.Time) (at time.Time, span string, err error) {
	spans := map[string]struct {
		long time.Duration
		text string
	}{
		"30m": {30 * time.Minute, " for 30 minutes"}, "2h": {2 * time.Hour, " for 2 hours"}, "8h": {8 * time.Hour, " for 8 hours"},
	}
	chosen := fields.Get("for")
	if s, ok := spans[chosen]; ok {
		return now.Add(s.long).Truncate(time.Second), s.text, nil
	}
	switch chosen {
	case "":
		return time.Time{}, "", nil
	case "until":
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02T15:04:05"} { // the latter two come from pages without scripts, in UTC
			if at, err = time.Parse(layout, fields.Get("until")); err == nil {
				return at.UTC(), " until the time you chose", nil
			}
		}
		return time.Time{}, "", &fieldError{"until", "the time is missing or is no time; choose a day and a time"}
	}
	return time.Time{}, "", &fieldError{"until", "there is no such choice of time"}
}

// portForm is what a form of a port was filled in with, and what is wrong with it.
func portForm(fields url.Values, e *fieldError) views.PortForm {
	return views.PortForm{
		Protocol: fields.Get("protocol"), Port: fields.Get("port"), Label: fields.Get("label"),
		For: fields.Get("for"), Until: fields.Get("until"), Reason: fields.Get("reason"), Allowed: fields.Get("allowed") == "1",
		Field: e.field, Error: sentence(e.text) + ".",
	}
}

// maxUndos bounds for how many devices the last change can be undone.
const maxUndos = 1000

// undos remembers of each device what held before its last change, so that Undo
// restores exactly that. The zero value is ready.
type undos struct {
	mu   sync.Mutex
	last map[string]undo // by device
}

type undo struct {
	revision int64 // that the change made
	before   []acl.Override
}

func (u *undos) keep(deviceID string, revision int64, before []acl.Override) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.last) >= maxUndos {
		clear(u.last) // an undo is offered for seconds
	}
	if u.last == nil {
		u.last = make(map[string]undo)
	}
	u.last[deviceID] = undo{revision, before}
}

// before returns what held before the change that made a revision.
func (u *undos) before(deviceID string, revision int64) ([]acl.Override, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	last, ok := u.last[deviceID]
	return last.before, ok && last.revision == revision
}
