package handlers

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"borealis/acl"
	"borealis/tunnel"

	"github.com/go-chi/chi/v5"
)

// A portsAnswer is which ports of a device the engine may reach. Its ETag is the
// revision in quotes.
type portsAnswer struct {
	DeviceID   string          `json:"device_id"`
	Revision   int64           `json:"revision"`   // grows with each change
	Overridden bool            `json:"overridden"` // anything was decided otherwise than the defaults
	Services   []serviceAnswer `json:"services"`   // every built-in service, open or closed
	Custom     []customAnswer  `json:"custom"`     // in the order of their numbers
	Allowed    []string        `json:"allowed_ports"`
	Proof      *proofAnswer    `json:"proof"` // the last one of the live tunnel
}

// A serviceAnswer is one built-in service.
type serviceAnswer struct {
	ID       string          `json:"id"`
	Name     string          `json:"name"`
	Hint     string          `json:"hint"`
	Ports    []string        `json:"ports"`
	Allowed  bool            `json:"allowed"`
	Default  bool            `json:"default"`  // what holds without an override
	Override *overrideAnswer `json:"override"` // null while the default holds
}

// A customAnswer is one custom port.
type customAnswer struct {
	Port     string          `json:"port"` // such as 8443/tcp or 5000-5010/udp
	Protocol string          `json:"protocol"`
	From     uint16          `json:"from"`
	To       uint16          `json:"to"`
	Label    string          `json:"label"`
	Allowed  bool            `json:"allowed"`
	Override *overrideAnswer `json:"override"`
}

// An overrideAnswer says who decided something, and for how long.
type overrideAnswer struct {
	By     string     `json:"by"`
	At     *time.Time `json:"at"`
	Until  *time.Time `json:"until"` // null: for good
	Reason string     `json:"reason"`
}

// A proofAnswer is what probing the live tunnel showed.
type proofAnswer struct {
	At        time.Time     `json:"at"`
	Millis    int64         `json:"took_ms"`
	Revision  int64         `json:"revision"`  // that was proven
	By        string        `json:"by"`        // what refuses on the engine: iptables or dialer
	Confirmed bool          `json:"confirmed"` // the agent said that it enforces this list
	Allowed   int           `json:"allowed"`   // ports that were tried because they are allowed
	Answering int           `json:"answering"` // of these
	Refused   int           `json:"refused"`   // of a sample of the other ports
	OK        bool          `json:"ok"`        // all is as it is shown
	Alarms    []string      `json:"alarms"`
	Ports     []probeAnswer `json:"ports"` // each allowed port, and each other one that was not refused
}

// A probeAnswer is one port that was tried.
type probeAnswer struct {
	Port   string `json:"port"`
	Result string `json:"result"` // answers no_listener refused_by_device silent blocked reachable
}

// A portsRequest is the whole of what is wanted: a service that is missing has its
// default, and a custom port that is missing goes.
type portsRequest struct {
	Services map[string]serviceRequest `json:"services"`
	Custom   []customRequest           `json:"custom"`
}

// A serviceRequest is what is decided about a service.
type serviceRequest struct {
	Allowed *bool `json:"allowed"`
	termRequest
}

// A customRequest is a custom port. To is From when it is missing, and Allowed is true.
type customRequest struct {
	Protocol string `json:"protocol"`
	From     *int64 `json:"from"`
	To       *int64 `json:"to"`
	Label    string `json:"label"`
	Allowed  *bool  `json:"allowed"`
	termRequest
}

// A termRequest is for how long and why: until a time, or for some seconds, or for good.
type termRequest struct {
	Until      *time.Time `json:"until"`
	ForSeconds *int64     `json:"for_seconds"`
	Reason     string     `json:"reason"`
}

// apiPorts tells which ports of a device are open.
func (s *Server) apiPorts(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	if _, err := s.device(r.Context(), p, id); err != nil {
		return err
	}
	have, err := s.config.Manager.Ports(r.Context(), id)
	if err != nil {
		return err
	}
	writePorts(w, answerPorts(id, have))
	return nil
}

// apiSetPorts makes the body the whole of a device's ports. It needs the ETag of what
// the client has seen, so that nobody overwrites what somebody else did meanwhile.
func (s *Server) apiSetPorts(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	if _, err := s.device(r.Context(), p, id); err != nil {
		return err
	}
	revision, err := ifMatch(r)
	if err != nil {
		return err
	}
	var q portsRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	have, err := s.config.Manager.Ports(r.Context(), id)
	if err != nil {
		return err
	}
	wanted, names, err := q.overrides(time.Now())
	if err != nil {
		return err
	}
	now, err := s.config.Manager.SetPorts(r.Context(), id, revision, wanted, p.actor())
	if stale, ok := errors.AsType[*tunnel.RevisionError](err); ok {
		w.Header().Set("ETag", etag(stale.Have.Revision))
		have.Policy = stale.Have
		return portsChanged(id, revision, wanted, have)
	}
	if bad, ok := errors.AsType[*acl.InvalidError](err); ok && bad.Index < len(names) {
		return invalid(fieldOf(names[bad.Index], bad.Field), "%s.", sentence(bad.Text))
	}
	if err != nil {
		return err
	}
	writePorts(w, answerPorts(id, now))
	return nil
}

// portsChanged is the failure of a change that is about a revision which is over. It
// holds both versions.
func portsChanged(id string, revision int64, wanted []acl.Override, have tunnel.Ports) error {
	f := refuse(codePortsChanged, "The ports were changed meanwhile: they are at revision %d, and you know revision %d. Nothing was changed.",
		have.Policy.Revision, revision)
	yours := answerPorts(id, tunnel.Ports{Policy: acl.Policy{OS: have.Policy.OS, Revision: revision, Overrides: wanted}})
	current := answerPorts(id, have)
	f.yours, f.current = &yours, &current
	return f
}

// apiCheckPorts probes the live tunnel and tells what that showed.
func (s *Server) apiCheckPorts(r *http.Request, p principal) (any, error) {
	if err := noFields(r); err != nil {
		return nil, err
	}
	id := chi.URLParam(r, "id")
	if _, err := s.device(r.Context(), p, id); err != nil {
		return nil, err
	}
	proof, err := s.config.Manager.Prove(r.Context(), id)
	if err != nil {
		return nil, err
	}
	return answerProof(proof), nil
}

// ifMatch reads the revision that the client has seen.
func ifMatch(r *http.Request) (int64, error) {
	given := r.Header.Values("If-Match")
	text := strings.TrimSpace(strings.Join(given, ","))
	if text == "" {
		return 0, refuse(codePrecondition, "The request does not say which revision of the ports it is about.")
	}
	number, ok := strings.CutPrefix(text, `"`)
	if ok {
		number, ok = strings.CutSuffix(number, `"`)
	}
	revision, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || etag(revision) != text || revision < 0 {
		return 0, refuse(codePrecondition, "If-Match is %q and not the one ETag that the ports were answered with.", clean(text, 64))
	}
	return revision, nil
}

func etag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

func writePorts(w http.ResponseWriter, a portsAnswer) {
	w.Header().Set("ETag", etag(a.Revision))
	writeJSON(w, a)
}

// overrides is the set that a request describes, with the name that each has in the
// request's body.
func (q portsRequest) overrides(now time.Time) (wanted []acl.Override, names []string, err error) {
	if q.Services == nil {
		return nil, nil, invalid("services", "The field services is missing; {} leaves every service at its default.")
	}
	if q.Custom == nil {
		return nil, nil, invalid("custom", "The field custom is missing; [] is no custom port.")
	}
	for _, id := range slices.Sorted(maps.Keys(q.Services)) {
		name := "services." + clean(id, 64)
		o, err := q.Services[id].override(id, name, now)
		if err != nil {
			return nil, nil, err
		}
		wanted, names = append(wanted, o), append(names, name)
	}
	for i, c := range q.Custom {
		name := fmt.Sprintf("custom[%d]", i)
		o, err := c.override(name, now)
		if err != nil {
			return nil, nil, err
		}
		wanted, names = append(wanted, o), append(names, name)
	}
	return wanted, names, nil
}

func (q serviceRequest) override(id, name string, now time.Time) (acl.Override, error) {
	if id == "" {
		return acl.Override{}, invalid(name, "A service has no id.")
	}
	if q.Allowed == nil {
		return acl.Override{}, invalid(name+".allowed", "The field %s.allowed is missing; leave the service out for its default.", name)
	}
	o := acl.Override{Service: id, Allowed: *q.Allowed, Reason: q.Reason}
	var err error
	o.Until, err = q.until(name, now)
	return o, err
}

func (q customRequest) override(name string, now time.Time) (acl.Override, error) {
	if q.From == nil {
		return acl.Override{}, invalid(name+".from", "The field %s.from is missing.", name)
	}
	to := q.From
	if q.To != nil {
		to = q.To
	}
	if q.Protocol != acl.TCP && q.Protocol != acl.UDP {
		return acl.Override{}, invalid(name+".protocol", "There is no protocol %q; use tcp or udp.", clean(q.Protocol, 20))
	}
	for _, n := range []int64{*q.From, *to} {
		if n < 1 || n > math.MaxUint16 {
			return acl.Override{}, invalid(name+".port", "There is no port %d; ports are from 1 to 65535.", n)
		}
	}
	o := acl.Override{
		Port:  acl.Port{Protocol: q.Protocol, From: uint16(*q.From), To: uint16(*to)}, // #nosec G115 -- checked above
		Label: q.Label, Allowed: q.Allowed == nil || *q.Allowed, Reason: q.Reason,
	}
	var err error
	o.Until, err = q.until(name, now)
	return o, err
}

// until is when what is decided ends by itself; zero for never.
func (q termRequest) until(name string, now time.Time) (time.Time, error) {
	switch {
	case q.Until != nil && q.ForSeconds != nil:
		return time.Time{}, invalid(name+".until", "Both until and for_seconds are there; send one of the two.")
	case q.Until != nil && q.Until.IsZero():
		return time.Time{}, invalid(name+".until", "The end of the override is in the past; choose a later time.")
	case q.Until != nil:
		return q.Until.UTC(), nil
	case q.ForSeconds == nil:
		return time.Time{}, nil
	case *q.ForSeconds < 1 || *q.ForSeconds > int64(acl.MaxUntil/time.Second):
		return time.Time{}, invalid(name+".for_seconds", "The field %s.for_seconds is not a number of seconds from 1 to %d.", name, int64(acl.MaxUntil/time.Second))
	}
	return now.Add(time.Duration(*q.ForSeconds) * time.Second), nil
}

// fieldOf is the name of a field of an override in a request.
func fieldOf(name, field string) string {
	if field == "service" {
		return name
	}
	return name + "." + field
}
