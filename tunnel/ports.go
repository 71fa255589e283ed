package tunnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"borealis/acl"
	"borealis/store"
	"borealis/tunnel/wg"
)

// Ports is which ports of a device are open, and how that shows in its live tunnel.
type Ports struct {
	Policy    acl.Policy
	TunnelID  string    // "" = no live tunnel
	Flows     []wg.Flow // open now, of the live tunnel
	Confirmed bool      // the live tunnel's agent enforces this policy
	Proof     Proof     // the last one of the live tunnel; zero = none yet
	Proving   bool      // one is being made
}

// A RevisionError says that somebody changed the ports since the caller read them.
type RevisionError struct {
	Have acl.Policy // what is in force
}

func (e *RevisionError) Error() string {
	return fmt.Sprintf("the ports were changed meanwhile; they are at revision %d", e.Have.Revision)
}

// Ports tells which ports of a device are open. The error is [ErrUnknownDevice] for
// a device that is not there.
func (m *Manager) Ports(ctx context.Context, deviceID string) (Ports, error) {
	d, err := m.lookUp(ctx, deviceID)
	if err != nil {
		return Ports{}, err
	}
	p, err := m.policy(ctx, d)
	if err != nil {
		return Ports{}, err
	}
	return m.portsOf(ctx, deviceID, p), nil
}

// portsOf adds to a policy what the live tunnel has to say.
func (m *Manager) portsOf(ctx context.Context, deviceID string, p acl.Policy) Ports {
	ports := Ports{Policy: p}
	s := m.session(deviceID)
	if s == nil || s.device.ID != deviceID || s.closing() {
		return ports
	}
	ports.TunnelID, ports.Confirmed = s.id, s.confirmed()
	ports.Proof, ports.Proving = s.proofs.state()
	flows, err := s.link.Flows(s.vip)
	if err != nil && !s.closing() {
		m.log.WarnContext(ctx, "flows_unreadable", "tunnel", s.id, "err", err)
	}
	ports.Flows = s.proofs.without(flows)
	return ports
}

// SetPorts makes overrides the whole set of a device: stores it with who and when
// (By and At of what stays the same are kept), and applies it to the live tunnel:
// the engine's firewall, open flows, the agent, in that order for what closes. It
// returns when all of that is in force, but does not wait for the proof, nor longer
// than two seconds for the agent; see [Ports.Confirmed].
//
// Errors: [ErrUnknownDevice], [*acl.InvalidError], and [*RevisionError] when somebody
// changed the set since revision. When the host's firewall refuses, the set is stored
// and the live tunnel ends as firewall_lost.
func (m *Manager) SetPorts(ctx context.Context, deviceID string, revision int64, overrides []acl.Override, by store.Actor) (Ports, error) {
	d, err := m.lookUp(ctx, deviceID)
	if err != nil {
		return Ports{}, err
	}
	release, err := m.takePorts(ctx, d.ID)
	if err != nil {
		return Ports{}, err
	}
	defer release()
	old, err := m.policy(ctx, d)
	if err != nil {
		return Ports{}, err
	}
	if old.Revision != revision {
		return Ports{}, &RevisionError{Have: old}
	}
	now := time.Now()
	wanted, err := decide(old, overrides, by.Name, now)
	if err != nil {
		return Ports{}, err
	}
	changed := describe(old, wanted, now)
	if changed == "" {
		return m.portsOf(ctx, d.ID, old), nil
	}
	wanted.Revision, err = m.config.Store.SetOverrides(ctx, d.ID, revision, rows(wanted.Overrides),
		store.Record{At: now, TunnelID: m.tunnelID(d.ID), Kind: "ports_changed", Detail: changed}.By(by))
	if errors.Is(err, store.ErrRevision) { // an override expired just now
		if old, err = m.policy(ctx, d); err == nil {
			err = &RevisionError{Have: old}
		}
	}
	if err != nil {
		return Ports{}, fmt.Errorf("store the ports: %w", err)
	}
	m.log.InfoContext(ctx, "ports_changed", "agent", d.ID, "operator", by.Name, "reason", changed)
	m.enforce(context.WithoutCancel(ctx), d.ID, wanted)
	return m.portsOf(ctx, d.ID, wanted), nil
}

// enforce applies a policy that was stored to the device's live tunnel, and tells
// everybody. The caller has the turn of the device.
func (m *Manager) enforce(ctx context.Context, deviceID string, p acl.Policy) {
	m.expiry.look()
	if s := m.session(deviceID); s != nil {
		s.apply(ctx, p)
	}
	m.watch.tell(deviceID)
}

func (m *Manager) tunnelID(deviceID string) string {
	if s := m.session(deviceID); s != nil {
		return s.id
	}
	return ""
}

// decide is the policy that comes of a set that actor wants: what stays the same
// keeps who decided it and when, and the rest is actor's.
func decide(old acl.Policy, wanted []acl.Override, actor string, now time.Time) (acl.Policy, error) {
	if err := acl.Check(wanted); err != nil {
		return acl.Policy{}, err
	}
	p := acl.Policy{OS: old.OS, Revision: old.Revision, Overrides: slices.Clone(wanted)}
	for i := range p.Overrides {
		o := &p.Overrides[i]
		if !o.Until.IsZero() {
			o.Until = o.Until.UTC().Truncate(time.Millisecond) // what a page sends back unchanged stays the same
		}
		if at := slices.IndexFunc(old.Overrides, o.Same); at >= 0 {
			o.By, o.At = old.Overrides[at].By, old.Overrides[at].At
			continue
		}
		if err := acl.CheckUntil(o.Until, now); err != nil {
			return acl.Policy{}, &acl.InvalidError{Index: i, Field: "until", Text: err.Error()}
		}
		o.By, o.At = actor, now.UTC()
	}
	slices.SortFunc(p.Overrides, func(a, b acl.Override) int { // as they are read
		return cmp.Or(
			cmp.Compare(a.Service, b.Service), cmp.Compare(a.Port.From, b.Port.From),
			cmp.Compare(a.Port.To, b.Port.To), cmp.Compare(a.Port.Protocol, b.Port.Protocol),
		)
	})
	return p, nil
}

// Changed tells those who watch that something about a device changed.
func (m *Manager) Changed(deviceID string) { m.watch.tell(deviceID) }
