// Package tunnel keeps the tunnels between an engine and its agents: who asked for
// them, how far they are, who uses them, which ports are open in them, and why they end.
package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"borealis/acl"
	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/keys"
	"borealis/tunnel/wg"
)

// Defaults of a [Config].
const (
	DefaultIdle        = 15 * time.Minute
	DefaultMaxDuration = 12 * time.Hour
	DefaultPool        = "10.255.0.0/16"
)

const (
	stepTimeout = 15 * time.Second // without the next step a tunnel rolls back
	leaveGrace  = 15 * time.Second // a page that reloads has this long to come back
	endTimeout  = 10 * time.Second // for the steps of a teardown together
	unheard     = 5 * time.Second  // without a handshake before people are told what that may mean
	turnTimeout = 10 * time.Second // for a change of a device's ports that is in the way of its tunnel
	probeLimit  = 10 * time.Second // for a new tunnel's shell to answer
)

// Config is what a [Manager] needs. Store and Keys are required.
type Config struct {
	Store *store.Store
	Keys  *keys.Engine
	// Link describes the WireGuard interface; the manager fills in key, address, and route.
	Link wg.Config
	// HostUsers lets every user of this host open connections into tunnels, not only
	// the one that the engine runs as. It means nothing in netstack mode.
	HostUsers bool
	// Pool is where devices get their address from; the engine has the first one.
	// Zero means DefaultPool.
	Pool netip.Prefix
	// PublicEndpoint is the HOST or HOST:PORT that agents send WireGuard packets to.
	// Empty means the host that the agent itself dialled.
	PublicEndpoint string
	// Addresses are where agents can dial the engine besides where they do, host:port each, at
	// most wire.MaxAddresses. They are told, and try these too when they lose it.
	Addresses []string
	// Idle ends a tunnel after this long without operator activity. Zero means DefaultIdle.
	Idle time.Duration
	// MaxDuration ends a tunnel whatever happens in it. Zero means DefaultMaxDuration.
	MaxDuration time.Duration
	// PingAnswer is how long an agent may take to answer on the older of two connections
	// of one device, and PingAgain how long after that both are asked once more before
	// two agents are taken to have one key. Zero means two and three seconds.
	PingAnswer, PingAgain time.Duration
	// Driver is the WireGuardNT driver that the engine keeps for the agents on Windows with
	// a processor, as Go names it, or nil. An agent is told of it when it connects. Nil
	// keeps none.
	Driver func(arch string) *wire.File
	// Observe is told what happens, for figures.
	Observe Observer
	// Logger gets one line for every step that people ask about. Nil is silent.
	Logger *slog.Logger

	reopen     time.Duration // between attempts to open the WireGuard interface; zero means linkRetry
	reconcile  time.Duration // between looks at the interface without news; zero means reconcileEvery
	rest       time.Duration // after the last tunnel, before memory is given back; zero means restAfter
	giveBack   func()        // gives memory back; nil means giveMemoryBack
	unrecorded time.Duration // without the audit trail before every tunnel is ended; zero means recordLongest
	compare    time.Duration // between comparisons of the tunnels with their rows; zero means compareEvery
	rewrite    time.Duration // between attempts to write to the audit trail; zero means recordEvery
	after      timer         // limits the steps of a tunnel; nil means time.AfterFunc
}

// A timer calls a function once, when a step of a tunnel has taken so long.
type timer func(tunnel string, long time.Duration, call func()) (stop func() bool)

func afterTime(_ string, long time.Duration, call func()) (stop func() bool) {
	return time.AfterFunc(long, call).Stop
}

// A Manager owns every tunnel of an engine. It is safe for concurrent use.
type Manager struct {
	config   Config
	log      *slog.Logger
	engineIP netip.Addr
	guard    acl.Guard
	plan     *planner
	watch    watchers
	pages    pages
	expiry   expiry
	recorder *recorder
	traffic  traffic
	paths    pathTrials
	proving  chan struct{} // holds a token for each proof that is being made

	stop context.CancelFunc // ends the keeper of the link
	work sync.WaitGroup

	mu       sync.Mutex
	link     link
	repaired FirewallState // of the last repair
	devices  map[string]*device
	live     int         // tunnels that have not ended
	rest     *time.Timer // runs after the last one; nil before the first
	closing  bool
}

// A device is what the manager remembers of a device since the engine started.
type device struct {
	connecting chan struct{} // holds one token; who has it may make a tunnel
	changing   chan struct{} // the same; who has it may change which ports are open

	// The rest is guarded by Manager.mu.
	channel *Channel
	session *session // the tunnel that has not ended yet
	update  Update   // what became of the last one; zero when there was none
}

// filled is c with its defaults.
func (c Config) filled() Config {
	if c.Idle == 0 {
		c.Idle = DefaultIdle
	}
	if c.MaxDuration == 0 {
		c.MaxDuration = DefaultMaxDuration
	}
	if !c.Pool.IsValid() {
		c.Pool = netip.MustParsePrefix(DefaultPool)
	}
	if c.PingAnswer == 0 {
		c.PingAnswer = pingAnswer
	}
	if c.PingAgain == 0 {
		c.PingAgain = pingAgain
	}
	if c.reopen == 0 {
		c.reopen = linkRetry
	}
	if c.reconcile == 0 {
		c.reconcile = reconcileEvery
	}
	if c.rest == 0 {
		c.rest = restAfter
	}
	if c.giveBack == nil {
		c.giveBack = giveMemoryBack
	}
	if c.unrecorded == 0 {
		c.unrecorded = recordLongest
	}
	if c.compare == 0 {
		c.compare = compareEvery
	}
	if c.rewrite == 0 {
		c.rewrite = recordEvery
	}
	if c.after == nil {
		c.after = afterTime
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Open starts a manager: tunnels left open by an earlier run are closed as
// engine_restart, and overrides that expired since are removed, before it returns.
// The host's firewall and the WireGuard interface are opened in the background, and opened
// again when the interface is lost; see [Manager.Link] and [Manager.Firewall].
// The caller closes the manager.
func Open(ctx context.Context, c Config) (*Manager, error) {
	c = c.filled()
	engineIP, err := engineAddress(c.Pool)
	if err != nil {
		return nil, err
	}
	left, err := c.Store.EndOpenTunnels(ctx, string(EngineRestart), time.Now())
	if err != nil {
		return nil, fmt.Errorf("close the tunnels of an earlier run: %w", err)
	}
	for _, t := range left {
		c.Logger.InfoContext(ctx, "tunnel_down", "tunnel", t.ID, "agent", t.DeviceID, "reason", EngineRestart)
	}
	m := &Manager{
		config: c, log: c.Logger, engineIP: engineIP, devices: make(map[string]*device),
		expiry: expiry{wake: make(chan struct{}, 1)}, proving: make(chan struct{}, proofsAtOnce),
	}
	m.plan = newPlanner(&m.guard)
	m.recorder = newRecorder(c, m.endUnrecorded, m.watch.tell)
	if _, err := m.expire(ctx); err != nil { // what ended while no engine ran
		return nil, fmt.Errorf("end overrides of an earlier run: %w", err)
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	m.stop = stop
	go m.recorder.keep()
	m.work.Go(func() { m.keepExpiry(life) })
	m.work.Go(func() { m.keepTokenKey(life) })
	m.work.Go(func() { m.keepSessions(life) })
	opened := make(chan struct{})
	m.work.Go(func() { m.keepLink(life, opened) })
	select { // the first attempt is over before anybody can ask for a tunnel
	case <-opened:
	case <-ctx.Done():
		m.Close()
		return nil, ctx.Err()
	}
	return m, nil
}

// Close ends every tunnel as engine_shutdown, tells the agents, and closes the
// WireGuard interface. It returns when nothing is left, and is safe to call twice.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closing = true
	m.stopRestLocked()
	live := m.sessionsLocked()
	m.mu.Unlock()
	for _, s := range live {
		s.end(EngineShutdown)
	}
	for _, s := range live {
		<-s.ended
	}
	m.mu.Lock()
	for _, d := range m.devices {
		if d.channel != nil {
			d.channel.shut()
		}
	}
	m.mu.Unlock()
	m.stop()
	m.work.Wait()
	m.pages.close()
	m.recorder.close()
	m.watch.close()
}

// Watch returns a channel that gets the id of each device about which something
// changed, and "" when the receiver was too slow and should look at everything.
// It never holds up the manager. The caller calls stop when it has seen enough.
func (m *Manager) Watch() (events <-chan string, stop func()) { return m.watch.add() }

// Tunnels returns the tunnels that have not ended, oldest first.
func (m *Manager) Tunnels() []Status {
	m.mu.Lock()
	live := m.sessionsLocked()
	m.mu.Unlock()
	all := make([]Status, 0, len(live))
	for _, s := range live {
		all = append(all, m.statusOf(s))
	}
	slices.SortFunc(all, func(a, b Status) int { return a.RequestedAt.Compare(b.RequestedAt) })
	return all
}

func (m *Manager) sessionsLocked() []*session {
	var live []*session
	for _, d := range m.devices {
		if d.session != nil {
			live = append(live, d.session)
		}
	}
	return live
}

// deviceLocked returns the entry of a device, made when it is missing.
func (m *Manager) deviceLocked(id string) *device {
	d := m.devices[id]
	if d == nil {
		d = &device{connecting: make(chan struct{}, 1), changing: make(chan struct{}, 1)}
		m.devices[id] = d
	}
	return d
}

// session finds a live tunnel by its own id or by its device's.
func (m *Manager) session(id string) *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.devices[id]; d != nil {
		return d.session
	}
	for _, d := range m.devices {
		if d.session != nil && d.session.id == id {
			return d.session
		}
	}
	return nil
}

// forget lets the next tunnel of the device be made.
func (m *Manager) forget(s *session) {
	s.carried.last(&m.traffic, s.lastCounters())
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.devices[s.device.ID]; d != nil && d.session == s {
		d.session = nil
		m.restLocked()
	}
}

// lookUp reads a device that may have tunnels.
func (m *Manager) lookUp(ctx context.Context, id string) (store.Device, error) {
	d, err := m.config.Store.Device(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return store.Device{}, ErrUnknownDevice
	}
	return d, err
}

// engineAddress is the first address of the pool.
func engineAddress(pool netip.Prefix) (netip.Addr, error) {
	if !pool.Addr().Is4() || pool.Bits() > 30 {
		return netip.Addr{}, fmt.Errorf("pool %s: it must be an IPv4 network of at least four addresses, such as %s", pool, DefaultPool)
	}
	return pool.Masked().Addr().Next(), nil
}
