package acl

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of what an owner may set for one device.
const (
	MaxCustom = 64                   // custom ports
	MaxLabel  = 64                   // characters of a custom port's label
	MaxReason = 200                  // characters of a reason
	MaxUntil  = 365 * 24 * time.Hour // how far ahead an override may expire
)

// An Override is what somebody decided about one built-in service or one custom port
// of a device.
type Override struct {
	Service string    // id of the service; empty for a custom port
	Port    Port      // of a custom port; zero for a service
	Label   string    // of a custom port
	Allowed bool      // open, else closed
	Until   time.Time // when the override ends by itself; zero means never
	Reason  string    // why, in the words of who decided it; may be empty
	By      string    // who decided it
	At      time.Time // when
}

// Same reports whether o and p decide the same, whoever did and when.
func (o Override) Same(p Override) bool {
	return o.Service == p.Service && o.Port == p.Port && o.Label == p.Label &&
		o.Allowed == p.Allowed && o.Until.Equal(p.Until) && o.Reason == p.Reason
}

// About reports whether o and p are about the same service or custom port.
func (o Override) About(p Override) bool { return o.Service == p.Service && o.Port == p.Port }

// A Policy says which ports of a device are open: the defaults of its operating
// system, and what somebody decided otherwise. Without overrides the defaults hold;
// that is not the same as overrides that close everything.
type Policy struct {
	OS        string
	Revision  int64      // grows with each change of the overrides
	Overrides []Override // at most one about each service or custom port
}

// A Row is one line of a policy: a built-in service or a custom port.
type Row struct {
	Service  string // id of the service; empty for a custom port
	Name     string // of the service, or the label of the custom port
	Hint     string
	Ports    []Port
	Allowed  bool
	Default  bool      // what holds without an override
	Override *Override // nil when the default holds
}

// Rows returns every built-in service, whether open or closed, and then the custom
// ports in the order of their numbers. An override that has expired does not count.
func (p Policy) Rows(now time.Time) []Row {
	var rows []Row
	for _, s := range Services() {
		row := Row{Service: s.ID, Name: s.nameOn(p.OS), Hint: s.Hint, Ports: s.Ports, Default: openByDefault(s.ID, p.OS)}
		row.Allowed = row.Default
		if o := p.find(s.ID, now); o != nil {
			row.Allowed, row.Override = o.Allowed, o
		}
		rows = append(rows, row)
	}
	first := len(rows)
	for _, o := range p.Overrides {
		if o.Service == "" && !o.expired(now) {
			rows = append(rows, Row{Name: o.Label, Ports: []Port{o.Port}, Allowed: o.Allowed, Override: &o})
		}
	}
	slices.SortStableFunc(rows[first:], func(a, b Row) int { return comparePorts(a.Ports[0], b.Ports[0]) })
	return rows
}

// Allowed returns the ports that are open.
func (p Policy) Allowed(now time.Time) []Port {
	open := []Port{} // all closed is a policy too, and not the lack of one
	for _, row := range p.Rows(now) {
		if row.Allowed {
			open = append(open, row.Ports...)
		}
	}
	return open
}

// Overridden reports whether anything differs from no override at all.
func (p Policy) Overridden(now time.Time) bool {
	return slices.ContainsFunc(p.Overrides, func(o Override) bool { return !o.expired(now) })
}

func (p Policy) find(service string, now time.Time) *Override {
	for _, o := range p.Overrides {
		if o.Service == service && !o.expired(now) {
			return &o
		}
	}
	return nil
}

func (o Override) expired(now time.Time) bool { return !o.Until.IsZero() && !now.Before(o.Until) }

// Contains reports whether one of ports covers a port of a protocol.
func Contains(ports []Port, protocol string, port uint16) bool {
	return slices.ContainsFunc(ports, func(p Port) bool { return p.Contains(protocol, port) })
}

// An InvalidError says what is wrong with an override that somebody wants.
type InvalidError struct {
	Index int    // of the override at fault
	Field string // service, port, label, until or reason
	Text  string // one sentence: what is wrong and what to do
}

func (e *InvalidError) Error() string { return e.Text }

// Check returns an [*InvalidError] when overrides cannot be a device's.
// When they end is not looked at: see [CheckUntil] for those that are new.
func Check(overrides []Override) error {
	custom := 0
	for i, o := range overrides {
		field, err := o.check()
		if err == nil {
			field, err = clash(o, overrides[:i])
		}
		if o.Service == "" {
			if custom++; custom > MaxCustom && err == nil {
				field, err = "port", fmt.Errorf("a device has at most %d custom ports; remove one that is not needed, or use a range", MaxCustom)
			}
		}
		if err != nil {
			return &InvalidError{Index: i, Field: field, Text: err.Error()}
		}
	}
	return nil
}

// CheckUntil says what is wrong with the time at which a new override is to end.
func CheckUntil(until, now time.Time) error {
	switch {
	case until.IsZero():
		return nil
	case !until.After(now):
		return errors.New("the end of the override is in the past; choose a later time")
	case until.After(now.Add(MaxUntil)):
		return errors.New("the end of the override is more than a year ahead; choose an earlier time, or none")
	}
	return nil
}

// check looks at one override alone.
func (o Override) check() (field string, err error) {
	if o.Service != "" {
		if !slices.ContainsFunc(Services(), func(s Service) bool { return s.ID == o.Service }) {
			return "service", fmt.Errorf("there is no service %q", o.Service)
		}
		if o.Port != (Port{}) || o.Label != "" {
			return "service", errors.New("the ports and the name of a built-in service cannot be changed; add a custom port instead")
		}
	} else if err := o.Port.check(); err != nil {
		return "port", err
	}
	if err := plainText("label", o.Label, MaxLabel); err != nil {
		return "label", err
	}
	if err := plainText("reason", o.Reason, MaxReason); err != nil {
		return "reason", err
	}
	return "", nil
}

// check says what is wrong with a custom port.
func (p Port) check() error {
	switch {
	case p.Service != "":
		return errors.New("a custom port belongs to no service")
	case p.Protocol != TCP && p.Protocol != UDP:
		return fmt.Errorf("there is no protocol %q; use tcp or udp", p.Protocol)
	case p.From == 0 || p.To == 0:
		return errors.New("there is no port 0; ports are from 1 to 65535")
	case p.From > p.To:
		return fmt.Errorf("the range %d-%d is the wrong way round; write %d-%d", p.From, p.To, p.To, p.From)
	}
	return nil
}

// clash says which other override or port o is in the way of: a port that is there
// twice could be shown as open and as closed.
func clash(o Override, others []Override) (field string, err error) {
	if o.Service != "" {
		if slices.ContainsFunc(others, o.About) {
			return "service", fmt.Errorf("the service %q is there twice", o.Service)
		}
		return "", nil
	}
	for _, s := range Services() {
		for _, p := range s.Ports {
			if p.overlaps(o.Port) {
				return "port", fmt.Errorf("%s is a port of %s; use the switch of that service, or leave the port out of the range", p, s.Name)
			}
		}
	}
	for _, other := range others {
		switch {
		case other.Service != "":
		case other.Port == o.Port:
			return "port", fmt.Errorf("%s is there already", o.Port)
		case other.Port.overlaps(o.Port):
			return "port", fmt.Errorf("%s overlaps %s; change one of the two", o.Port, other.Port)
		}
	}
	return "", nil
}

func (p Port) overlaps(q Port) bool {
	return p.Protocol == q.Protocol && p.From <= q.To && q.From <= p.To
}

// ParsePort reads a custom port as people write it: 8443 or 5000-5010.
func ParsePort(protocol, text string) (Port, error) {
	first, last, isRange := strings.Cut(strings.ReplaceAll(text, "–", "-"), "-")
	if !isRange {
		last = first
	}
	from, err := parseNumber(first)
	if err != nil {
		return Port{}, err
	}
	to, err := parseNumber(last)
	if err != nil {
		return Port{}, err
	}
	p := Port{Protocol: strings.ToLower(strings.TrimSpace(protocol)), From: from, To: to}
	return p, p.check()
}

func parseNumber(text string) (uint16, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, errors.New("the port is missing; write a number such as 8443, or a range such as 5000-5010")
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("there is no port %.12s; ports are from 1 to 65535", text)
	}
	if err != nil || strings.HasPrefix(text, "+") {
		return 0, fmt.Errorf("%.40q is no port; write a number such as 8443, or a range such as 5000-5010", text)
	}
	return uint16(n), nil
}

// plainText wants text that a page and a terminal show as it is.
func plainText(what, text string, most int) error {
	switch {
	case utf8.RuneCountInString(text) > most:
		return fmt.Errorf("the %s is longer than %d characters; shorten it", what, most)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("the %s has characters that cannot be shown; use plain text on one line", what)
	case strings.TrimSpace(text) != text:
		return fmt.Errorf("the %s begins or ends with a space; remove it", what)
	}
	return nil
}

func comparePorts(a, b Port) int {
	if a.From != b.From {
		return int(a.From) - int(b.From)
	}
	return strings.Compare(a.Protocol, b.Protocol)
}
