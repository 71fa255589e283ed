package tunnel

import (
	"context"
	"errors"
	"time"

	"borealis/agent/wire"
	"borealis/store"
)

// What [Manager.OfferUpdate] alone refuses.
var (
	ErrTooOld   = errors.New("agent is of a version that takes no updates")
	ErrUpdating = errors.New("device is being updated")
)

// UpdateOffered is the outcome of an update about which the agent has said nothing yet; the
// others are those of [wire.Updated].
const UpdateOffered = "offered"

const (
	updateLongest = 20 * time.Minute // for an agent to say what became of an update, after which another may be offered
	maxUpdateNews = 2                // that an agent may have on one channel, and again after each offer
)

// An Update is what became of the update that a device was offered last.
type Update struct {
	Version string
	Outcome string // UpdateOffered, or one of [wire.Updated]
	Detail  string // what the agent said about it, a sentence for people, or ""
	At      time.Time
}

// underWay tells whether the agent is still at it.
func (u Update) underWay(now time.Time) bool {
	return (u.Outcome == UpdateOffered || u.Outcome == wire.UpdateStarted) && now.Sub(u.At) < updateLongest
}

// OfferUpdate asks a device's agent, for an administrator, to replace itself by a version
// that a signed manifest names. It returns when the agent was asked; what comes of it,
// [Manager.LastUpdate] says. Nothing is offered while the device has a tunnel, which would
// end. Errors are the ones named Err….
func (m *Manager) OfferUpdate(ctx context.Context, h Holder, deviceID, version, manifest string) error {
	d, err := m.lookUp(ctx, deviceID)
	if err != nil {
		return err
	}
	switch d.State {
	case store.Active:
	case store.Pending:
		return ErrPending
	default:
		return ErrRevoked
	}
	if err := m.unlocked(ctx, d); err != nil {
		return err
	}
	m.mu.Lock()
	turn := m.deviceLocked(d.ID).connecting
	m.mu.Unlock()
	release, err := take(ctx, turn) // no tunnel is begun meanwhile
	if err != nil {
		return err
	}
	defer release()
	m.mu.Lock()
	entry := m.deviceLocked(d.ID)
	c, s, before := entry.channel, entry.session, entry.update
	m.mu.Unlock()
	switch {
	case c == nil:
		return &OfflineError{LastSeen: d.LastSeen}
	case c.hello.Protocol < 2:
		return ErrTooOld
	case s != nil:
		return &ActiveError{TunnelID: s.id}
	case before.underWay(time.Now()):
		return ErrUpdating
	}
	did := store.Record{DeviceID: d.ID, Kind: "agent_update_offered", Target: version}.By(h.Actor())
	if err := m.recordFirst(ctx, did); err != nil {
		return err
	}
	c.expectNews()
	m.noteUpdate(d.ID, Update{Version: version, Outcome: UpdateOffered})
	if !c.send(wire.FromEngine{Update: &wire.Update{Manifest: manifest}}) {
		m.noteUpdate(d.ID, before)
		return &OfflineError{LastSeen: time.Now()}
	}
	m.log.InfoContext(ctx, "agent_update_offered", "agent", d.ID, "operator", h.Operator)
	return nil
}

// LastUpdate returns what became of the update that a device was offered last, or that its
// agent told of, since the engine started; false when there was none.
func (m *Manager) LastUpdate(deviceID string) (u Update, underWay, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.devices[deviceID]
	if d == nil || d.update.Outcome == "" {
		return Update{}, false, false
	}
	return d.update, d.update.underWay(time.Now()), true
}

// noteUpdate remembers what became of an update, and tells who watches the device.
func (m *Manager) noteUpdate(deviceID string, u Update) {
	if u.At.IsZero() && u.Outcome != "" {
		u.At = time.Now()
	}
	m.mu.Lock()
	m.deviceLocked(deviceID).update = u
	m.mu.Unlock()
	m.watch.tell(deviceID)
}

// updated takes an agent's news of an update. Like all that it says, they are for people:
// the version that runs is told with the next hello.
func (c *Channel) updated(news wire.Updated) error {
	c.mu.Lock()
	c.news++
	tooMany := c.news > maxUpdateNews
	c.mu.Unlock()
	if tooMany {
		return errors.New("more news of updates than there were offers")
	}
	m := c.manager
	last, _, _ := m.LastUpdate(c.device.ID)
	u := Update{Version: news.Version, Outcome: news.Outcome, Detail: news.Detail}
	if u.Version == "" {
		u.Version = last.Version
	}
	did := store.Record{DeviceID: c.device.ID, Target: u.Version, Detail: u.Detail}
	switch u.Outcome {
	case wire.UpdateDone:
		did.Kind = "agent_updated"
	case wire.UpdateRefused:
		did.Kind, did.Result = "agent_update_failed", store.Refused
	case wire.UpdateFailed:
		did.Kind, did.Result = "agent_update_failed", store.Failed
	case wire.UpdateRolledBack:
		did.Kind, did.Result = "agent_update_rolled_back", store.Failed
	}
	if did.Kind != "" { // that it has started is no end
		m.record(did)
	}
	m.log.Info("agent_update", "agent", c.device.ID, "reason", u.Outcome)
	m.noteUpdate(c.device.ID, u)
	return nil
}

// expectNews lets the agent tell what becomes of another offer.
func (c *Channel) expectNews() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.news = 0
}
