package tunnel

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"borealis/acl"
	"borealis/store"
)

// A reference says what a manager must be like: a device has one tunnel or none, which somebody
// holds, and which ends once.
type reference struct {
	broken, lost bool // the audit trail cannot be written; the firewall does not hold
	siteLocked   bool
	devices      []*refDevice
}

type refDevice struct {
	state  string // of the device, as the store names it
	locked bool
	online bool
	port   bool // a port is allowed that is closed by default
	tunnel *refTunnel
	past   []*refTunnel
}

type refTunnel struct {
	id       string
	state    State // Offered, Peered, Up or Ended
	away     bool  // up, and its agent's connection is lost
	hinted   bool  // people were told that no handshake came
	holders  map[holderKey]Holder
	reasons  []Reason // why it ended: one of these
	log      []string // what must be on record
	anyOrder bool     // who did what first is not known, so only its beginning and its end are
}

// refuses is the error of a connect, nil when it makes or joins a tunnel.
func (r *reference) refuses(d *refDevice, h Holder, o ConnectOptions) error {
	switch t := d.tunnel; {
	case d.state != store.Active:
		return ErrRevoked
	case d.locked || r.siteLocked:
		return ErrLocked
	case t != nil && o.New:
		return ErrActive
	case t != nil && t.holds(h):
		return nil
	case t == nil && !d.online:
		return ErrOffline
	case r.broken, t == nil && r.lost:
		return ErrUnavailable
	}
	return nil
}

// request makes a tunnel.
func (d *refDevice) request(id string, h Holder) {
	d.tunnel = &refTunnel{id: id, state: Offered, holders: map[holderKey]Holder{h.key(): h}}
	d.tunnel.note("tunnel_requested", h.Operator, "")
}

func (t *refTunnel) holds(h Holder) bool { _, ok := t.holders[h.key()]; return ok }

// join counts a holder in, once.
func (t *refTunnel) join(h Holder) {
	if !t.holds(h) {
		t.holders[h.key()] = h
		t.note("operator_joined", h.Operator, "")
	}
}

func (t *refTunnel) up(by string) {
	t.state = Up
	t.note("tunnel_up", by, "")
}

// requester is who asked for the tunnel.
func (t *refTunnel) requester() string {
	_, who, _ := strings.Cut(t.log[0], "|")
	return strings.TrimSuffix(who, "|")
}

// leave counts out whom gone names, with a reason; the last one out ends the tunnel.
func (d *refDevice) leave(reason Reason, gone func(Holder) bool) {
	t := d.tunnel
	if t == nil {
		return
	}
	var last string
	left := 0
	for _, k := range slices.SortedFunc(maps.Keys(t.holders), compareHolders) {
		if h := t.holders[k]; gone(h) {
			delete(t.holders, k)
			t.note("operator_left", h.Operator, string(reason))
			last = h.Operator
			left++
		}
	}
	if left > 0 && len(t.holders) == 0 {
		if reason != OperatorDisconnect && reason != OperatorLeft {
			last = ""
		}
		d.end(last, reason)
	}
}

// end ends the tunnel for one of some reasons.
func (d *refDevice) end(by string, reasons ...Reason) {
	t := d.tunnel
	if t == nil {
		return
	}
	t.state, t.reasons, t.holders = Ended, reasons, nil
	if len(reasons) == 1 {
		t.note("tunnel_down", by, string(reasons[0]))
	} else {
		t.anyOrder = true
	}
	d.tunnel, d.past = nil, append(d.past, t)
}

func (t *refTunnel) note(kind, who, why string) { t.log = append(t.log, kind+"|"+who+"|"+why) }

// anyHolder is one of those who hold the tunnel, always the same one.
func (t *refTunnel) anyHolder() Holder {
	keys := slices.SortedFunc(maps.Keys(t.holders), compareHolders)
	return t.holders[keys[0]]
}

func compareHolders(a, b holderKey) int {
	return cmp.Or(cmp.Compare(a.session, b.session), cmp.Compare(a.tab, b.tab))
}

// String is how the tunnel must look.
func (t *refTunnel) String() string {
	var who []string
	for _, h := range t.holders {
		who = append(who, h.Operator+" "+holderKind(h))
	}
	slices.Sort(who)
	hint := ""
	if t.hinted {
		hint = " with a hint"
	}
	return fmt.Sprint(t.state, who, hint)
}

// ports are what must be open in the device's tunnel.
func (d *refDevice) ports() []acl.Port {
	if d.port {
		return []acl.Port{modelPort}
	}
	return []acl.Port{}
}
