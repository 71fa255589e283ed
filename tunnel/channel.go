package tunnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/keys"
)

const outgoingBuffer = 32 // messages that an agent may be behind before it is cut off

// A Presence tells where an online device is.
type Presence struct {
	Since time.Time
	Addr  string // the address that the agent's connection comes from
	Link  string // the kind of WireGuard interface that the agent uses
}

// A Channel is the manager's side of one agent's control connection. Whoever owns
// the connection sends what comes out of Outgoing, hands in what arrives by
// Receive, and calls Leave once when the connection is over.
type Channel struct {
	manager  *Manager
	device   store.Device
	hello    wire.Hello
	presence Presence
	identity *keys.Identity              // of the engine, that the agent was served
	ping     func(context.Context) error // asks the agent for a sign of life
	outgoing chan wire.FromEngine
	over     chan struct{} // closed with outgoing

	mu        sync.Mutex
	down      bool
	told      string          // the state of the device that the agent was told last
	inventory *wire.Inventory // that waits to be stored, or nil
	storing   bool            // storeInventories runs
	stored    time.Time       // how far into the future the inventories count that were stored
	news      int             // of updates, that the agent told since the last offer
}

// Join makes an agent that said hello online. It was served one of the engine's
// identities, and ping returns nil once its side of the connection answers. The first
// message on Outgoing is the welcome.
//
// A channel that the device had before does not count any more. It is cut off as soon
// as it does not answer; two agents that go on answering with one key are set aside,
// as is an agent that comes from another machine than the one that was enrolled.
func (m *Manager) Join(ctx context.Context, d store.Device, hello wire.Hello, addr string, identity *keys.Identity, ping func(context.Context) error) (*Channel, error) {
	c := &Channel{
		manager: m, device: d, hello: hello, identity: identity, ping: ping,
		presence: Presence{Since: time.Now(), Addr: addr, Link: hello.Link},
		outgoing: make(chan wire.FromEngine, outgoingBuffer), over: make(chan struct{}), told: d.State,
	}
	if !sameMachine(d.Machine, hello.Machine) {
		m.quarantine(ctx, d.ID, identityCopied, "an agent at "+addr+" showed the identity on another machine")
		return nil, errIdentityCopied
	}
	facts := store.DeviceFacts{
		Hostname: hello.Hostname, OS: hello.OS, OSVersion: hello.OSVersion, Arch: hello.Arch,
		AgentVersion: hello.Version, Link: hello.Link, Seen: c.presence.Since,
	}
	if err := m.config.Store.UpdateDevice(ctx, d.ID, facts); err != nil {
		return nil, fmt.Errorf("record the agent: %w", err)
	}
	before, s, err := m.enter(c, m.driverFor(d, hello))
	if err != nil {
		return nil, err
	}
	m.reattach(ctx, c, s)
	if before == nil {
		m.recordNow(ctx, store.Record{DeviceID: d.ID, Kind: "agent_online", Source: addr})
	}
	m.log.InfoContext(ctx, "agent_connected", "agent", d.ID, "addr", addr)
	m.watch.tell(d.ID)
	return c, nil
}

// enter welcomes an agent and makes its channel the device's. It returns the channel
// that the device had before, and its tunnel. Whatever changes for all agents, such as
// the token keys, is in the welcome or comes after it.
func (m *Manager) enter(c *Channel, driver *wire.File) (before *Channel, s *session, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closing {
		return nil, nil, errors.New("the engine is stopping")
	}
	welcome := wire.Welcome{
		DeviceID: c.device.ID, State: c.device.State, ServerTime: time.Now().UTC(),
		TokenKeys: m.config.Keys.TokenKeys(c.identity), NextIdentity: m.config.Keys.Next(c.identity),
		Driver: driver,
	}
	if c.hello.Protocol >= 3 { // it takes the message of an older engine for one without these
		welcome.Protocol, welcome.Addresses = wire.Protocol, m.config.Addresses
	}
	c.send(wire.FromEngine{Welcome: &welcome})
	entry := m.deviceLocked(c.device.ID)
	before, s = entry.channel, entry.session
	entry.channel = c
	if before != nil {
		m.work.Go(func() { m.settle(before, c) })
	}
	return before, s, nil
}

// driverFor is the driver that an agent is told of: nil unless it may have it and knows
// what it is.
func (m *Manager) driverFor(d store.Device, hello wire.Hello) *wire.File {
	if m.config.Driver == nil || hello.Protocol < 2 || hello.OS != "windows" || d.State != store.Active {
		return nil
	}
	return m.config.Driver(hello.Arch)
}

// reattach decides what a tunnel is worth after its agent came (back): the agent
// still holds it, or it has lost it; or the agent holds one that has ended meanwhile, or
// is about to: what it was told of that went to the connection before.
func (m *Manager) reattach(ctx context.Context, c *Channel, s *session) {
	held := c.hello.Tunnel
	same := s != nil && s.id == held
	if same && !s.closing() {
		s.agentBack()
		return
	}
	if s != nil {
		s.end(AgentLost) // which changes nothing when it is ending already
	}
	if held == "" {
		return
	}
	why := AgentLost
	if same {
		why = s.why()
	} else {
		why = cmp.Or(m.recorded(ctx, c.device.ID, held), why)
	}
	c.send(wire.FromEngine{Stop: &wire.Stop{Tunnel: held, Reason: string(why)}})
}

// recorded is the reason for which a tunnel of a device has ended, by the record; "" when it has none.
func (m *Manager) recorded(ctx context.Context, deviceID, id string) Reason {
	t, err := m.config.Store.Tunnel(ctx, id)
	if err != nil || t.DeviceID != deviceID {
		return ""
	}
	return Reason(t.Reason)
}

// setRight tells an agent for what reason a tunnel has ended that it says it has ended by itself: the
// engine may have had another one before it heard of that, so both logs have the same in the end.
func (c *Channel) setRight(id string) {
	m := c.manager
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closing {
		return
	}
	m.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		if r := m.recorded(ctx, c.device.ID, id); r != "" {
			c.send(wire.FromEngine{Stop: &wire.Stop{Tunnel: id, Reason: string(r)}})
		}
	})
}

// Outgoing carries the messages for the agent. It is closed when the connection must end.
func (c *Channel) Outgoing() <-chan wire.FromEngine { return c.outgoing }

// Receive takes a message of the agent. An error means that the agent broke the
// protocol and the connection must end. It does not wait for anything slow.
func (c *Channel) Receive(_ context.Context, msg wire.FromAgent) error {
	c.manager.mu.Lock()
	var s *session
	if d := c.manager.devices[c.device.ID]; d != nil && d.channel == c {
		s = d.session
	}
	c.manager.mu.Unlock()
	about := func(id string) bool { return s != nil && s.id == id } // else it is old news
	switch {
	case msg.Hello != nil:
		return errors.New("a second hello")
	case msg.Ready != nil:
		if about(msg.Ready.Tunnel) {
			s.offerAnswer(answer{ready: msg.Ready, nonce: c.hello.Nonce})
		}
	case msg.Refused != nil:
		if about(msg.Refused.Tunnel) {
			s.offerAnswer(answer{refused: msg.Refused})
		}
	case msg.Applied != nil:
		if about(msg.Applied.Tunnel) {
			s.confirm(msg.Applied.Revision)
		}
	case msg.Inventory != nil:
		c.describe(*msg.Inventory)
	case msg.Stopped != nil:
		if about(msg.Stopped.Tunnel) {
			s.fail(Reason(wire.EndReason(msg.Stopped.Reason)), msg.Stopped.Detail)
		} else {
			c.setRight(msg.Stopped.Tunnel)
		}
	case msg.Updated != nil:
		return c.updated(*msg.Updated)
	}
	return nil
}

// Leave says that the connection is over.
func (c *Channel) Leave() {
	m := c.manager
	c.shut()
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	m.mu.Lock()
	d := m.devices[c.device.ID]
	current := d != nil && d.channel == c
	var s *session
	if current {
		d.channel, s = nil, d.session
	}
	m.mu.Unlock()
	m.log.InfoContext(ctx, "agent_disconnected", "agent", c.device.ID, "addr", c.presence.Addr)
	if !current {
		return // a newer connection took over
	}
	if s != nil {
		s.agentGone()
	}
	if err := m.config.Store.SeenDevice(ctx, c.device.ID, time.Now()); err != nil {
		m.log.ErrorContext(ctx, "record_failed", "agent", c.device.ID, "err", err)
	}
	m.record(store.Record{DeviceID: c.device.ID, Kind: "agent_offline"})
	m.watch.tell(c.device.ID)
}

// send queues a message. An agent that does not keep up is cut off.
func (c *Channel) send(msg wire.FromEngine) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return false
	}
	select {
	case c.outgoing <- msg:
		return true
	default:
		c.shutLocked()
		return false
	}
}

// shut ends the connection after what is queued has been sent.
func (c *Channel) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shutLocked()
}

func (c *Channel) shutLocked() {
	if !c.down {
		c.down = true
		close(c.outgoing)
		close(c.over)
	}
}

// Online tells whether a device's agent is connected.
func (m *Manager) Online(deviceID string) (Presence, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.devices[deviceID]; d != nil && d.channel != nil {
		return d.channel.presence, true
	}
	return Presence{}, false
}

// OnlineIDs returns the ids of all devices whose agents are connected.
func (m *Manager) OnlineIDs() map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	online := make(map[string]bool)
	for id, d := range m.devices {
		if d.channel != nil {
			online[id] = true
		}
	}
	return online
}

// Drop cuts a device off: its tunnel ends for a reason, and then its connection.
func (m *Manager) Drop(ctx context.Context, deviceID string, reason Reason) {
	m.mu.Lock()
	var c *Channel
	var s *session
	if d := m.devices[deviceID]; d != nil {
		c, s = d.channel, d.session
	}
	m.mu.Unlock()
	if s != nil {
		s.end(reason)
		select {
		case <-s.ended:
		case <-ctx.Done():
		}
	}
	m.paths.end(deviceID)
	if c != nil {
		c.shut()
	}
	m.watch.tell(deviceID)
}

// StateChanged tells a device's agent, if it is connected, and everybody who watches the
// device that an administrator decided about it: its state is store.Active, for example.
func (m *Manager) StateChanged(deviceID, state string) {
	if c := m.channel(deviceID); c != nil && c.decided(state) {
		c.send(wire.FromEngine{State: &wire.State{State: state}})
	}
	m.watch.tell(deviceID)
}

// Waiting returns the ids of the connected devices whose agents believe, by what they
// were told last, that they wait for approval.
func (m *Manager) Waiting() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for id, d := range m.devices {
		if d.channel != nil && d.channel.knows(store.Pending) {
			ids = append(ids, id)
		}
	}
	return ids
}

// decided notes what the agent is going to be told; false when it knows.
func (c *Channel) decided(state string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told == state {
		return false
	}
	c.told = state
	return true
}

// knows reports whether the agent was told that state last.
func (c *Channel) knows(state string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told == state
}

func (m *Manager) channel(deviceID string) *Channel {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.devices[deviceID]; d != nil {
		return d.channel
	}
	return nil
}
