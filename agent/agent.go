// Package agent keeps an agent in touch with its engine, its tunnel up or down as asked.
//
// An [Agent] holds one channel to its engine and redials it for as long as it
// runs. Over the channel the engine asks for a tunnel; the agent brings up at
// most one, and only for a token that its pinned engine signed for this agent,
// this tunnel and this very connection. What the engine reaches through it are the
// ports that the token allows, or the last policy after it, signed in the same way.
// The device's owner may have a policy too, see package limits: it narrows all that, and
// what it does not allow any more ends. After a restart no tunnel is up.
//
// One goroutine owns each tunnel and everything that belongs to it, from the
// WireGuard interface to the shells, and takes it down in reverse order, the
// peer first. What arrives on the channel only tells that goroutine what to do,
// so nothing slow ever holds up the channel.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"borealis/agent/limits"
	"borealis/agent/wire"
	"borealis/tunnel/keys"
	"borealis/tunnel/wg"
)

// Config says how an agent runs. Only Data is needed.
type Config struct {
	Data    string       // The data root, where Enrol left the keys.
	Link    wg.Mode      // wg.NT, for Windows with a driver; wg.Netstack; or wg.Auto, also "", the best that is there.
	Shell   string       // Absolute path of the shell; "" is the platform's own.
	Version string       // Of the program, told to the engine.
	Logger  *slog.Logger // nil is silent.

	// Exe is the path of the program that the service manager starts as this agent; an
	// update replaces it. "" takes no updates: nobody would start the new program.
	Exe string
}

// ErrRestart is returned by [Agent.Run] when an update has put another program in place of
// this one. Whoever runs the agent ends the process, and the new program is started.
var ErrRestart = errors.New("the agent was updated and has to be started again")

// Agent keeps in touch with one engine. Its methods are safe for concurrent use.
type Agent struct {
	dir     string      // Of the keys.
	keys    *keys.Agent // As they were at the opening.
	shell   string
	version string
	facts   facts
	log     *slog.Logger
	seen    replay
	nudged  chan struct{} // Holds one when somebody nudged.
	changed chan struct{} // Holds one when the status has changed.

	data     string // The data root.
	mode     wg.Mode
	plane    *dataplane // What tunnels stand on; opened by Run.
	limits   *limits.Policy
	skipped  failures // Of addresses, for the goroutine that dials.
	reporter reporter
	tunnels  sync.WaitGroup // One for each session's goroutine.
	updates  updates

	mu       sync.Mutex
	engine   keys.Pin // Who the engine is, and who it is going to be; zero when that is not known.
	next     keys.Pin
	known    []string // The addresses that were tried when the engine answered last,
	good     string   // and at which of them it did; "" before.
	status   Status
	out      chan<- wire.FromAgent // To the engine; nil without a channel.
	drop     func(error)           // Ends the channel of out.
	protocol int                   // Of the engine of out; 0 when it did not say.
	current  *session              // The newest tunnel; nil when there is none.
	rest     *time.Timer           // Runs after a tunnel; nil before the first.
	last     wire.Stopped          // The last tunnel that ended by itself.

	unsettled bool    // What the engine has on record about last is not known.
	parting   *ending // Of the tunnel that the agent's own end took; nil without one.
	heard     bool    // The engine has read all that was said before that.
	closing   bool
}

// keysDir is where an agent's keys are below its data root.
func keysDir(data string) string {
	return filepath.Join(data, "Agent", "Borealis", "Certificates", "VPN_Client")
}

// PolicyFile is where the owner of a device writes its local policy, below its data root.
func PolicyFile(data string) string { return filepath.Join(data, "Agent", "policy.json") }

// Open loads the keys of an enrolled agent. The error is [keys.ErrNotEnrolled]
// when it does not belong to an engine yet. Nothing runs until [Agent.Run], but for what
// watches over this program when an update has brought it here.
func Open(c Config) (*Agent, error) { return open(c, newUpdates(c)) }

// open is Open for a program of some release.
func open(c Config, u updates) (*Agent, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	u.resume(c.Logger) // Before anything that may be wrong with this program.
	switch c.Link {
	case "", wg.Auto, wg.Netstack, wg.NT:
	default:
		return nil, fmt.Errorf("open agent: link %q: an agent has auto, netstack and wireguard-nt", c.Link)
	}
	dir := keysDir(c.Data)
	k, err := keys.OpenAgent(dir)
	if err != nil {
		return nil, fmt.Errorf("open agent: %w", err)
	}
	a := &Agent{
		dir:     dir,
		keys:    k,
		engine:  k.Engine,
		next:    k.Next,
		shell:   c.Shell,
		version: c.Version,
		facts:   gather("", c.Data),
		nudged:  make(chan struct{}, 1),
		changed: make(chan struct{}, 1),
		data:    c.Data,
		mode:    c.Link,
		limits:  limits.Load(PolicyFile(c.Data)),
		plane:   &dataplane{mode: wg.Netstack}, // until Run
		log:     c.Logger,
		status:  Status{PID: os.Getpid(), Version: c.Version, Engine: k.Address},
		updates: u,
	}
	a.reporter = reporter{ask: a.describe, forbids: a.forbids, tell: a.tellInventory, turn: make(chan struct{}, 1)}
	return a, nil
}

// A Fingerprint names the two ends that trust each other, for people to compare.
type Fingerprint struct {
	Device  keys.Pin // This agent's identity.
	Engine  keys.Pin // The engine's, the newest that this agent knows.
	Address string   // The engine's host:port, where it is looked for first.
}

// ReadFingerprint reads who the agent with a data root and its engine are. The error is
// [keys.ErrNotEnrolled] when it does not belong to an engine yet.
func ReadFingerprint(data string) (Fingerprint, error) {
	k, err := keys.OpenAgent(keysDir(data))
	if err != nil {
		return Fingerprint{}, fmt.Errorf("read fingerprint: %w", err)
	}
	all, _ := whereabouts(keysDir(data), k) // What is damaged, the doctor tells.
	f := Fingerprint{Device: k.Identity.Pin(), Engine: k.Engine, Address: all[0]}
	if !k.Next.IsZero() {
		f.Engine = k.Next
	}
	return f, nil
}

// Run keeps in touch with the engine until ctx ends. Then it takes the tunnel
// down, tells the engine, closes the channel and returns nil; nothing of it is
// left running. It may be called once. The error is [keys.ErrInUse] when another
// process runs as this agent, and [ErrRestart] when an update asks for its end.
func (a *Agent) Run(ctx context.Context) (err error) {
	release, err := keys.UseAgent(a.dir)
	if err != nil {
		return fmt.Errorf("run agent: %w", err)
	}
	defer release()
	if a.plane, err = openDataplane(ctx, a.data, a.mode, a.log); err != nil {
		return fmt.Errorf("run agent: %w", err)
	}
	defer func() { err = errors.Join(err, a.plane.close()) }()
	a.note(func(s *Status) {
		s.Link, s.LinkReason, s.Driver = string(a.plane.mode), a.plane.reason, a.plane.driver
		if a.plane.adapter != nil {
			s.Adapter = a.plane.adapter.Name()
		}
	})
	a.bury()
	defer a.keepStatus()()
	// The channel outlives ctx by as long as it takes to say goodbye on it.
	channel, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	trying, giveUp := context.WithCancel(ctx)
	defer giveUp()
	var touch sync.WaitGroup
	touch.Go(func() {
		var missed failures
		retry(trying, newBackoff(), a.nudged, func(ctx context.Context) bool { return a.connect(ctx, channel, &missed) })
	})
	touch.Go(func() { a.keepUpdated(trying) })
	select {
	case <-ctx.Done():
	case <-a.updates.restart:
		err = ErrRestart
	}
	giveUp()
	a.shutDown()
	hangUp()
	touch.Wait()
	a.part()
	return err
}

// decided notes what an administrator decided about the device.
func (a *Agent) decided(state string) {
	a.note(func(s *Status) { s.State = state })
	a.log.Info("device_state", "reason", state)
}

// connect makes one connection and stays on it until it ends or channel does.
// It reports whether there is reason to try again soon.
func (a *Agent) connect(ctx, channel context.Context, missed *failures) (soon bool) {
	c, err := a.dialNudged(ctx)
	switch {
	case ctx.Err() != nil && err != nil:
		return false
	case errors.Is(err, errNudged):
		return true
	case err != nil:
		a.unreachable(err, missed)
		return false
	}
	missed.clear()
	since := time.Now()
	why := a.attend(channel, c)
	_, slept := errors.AsType[*clockJump](why)
	return slept || errors.Is(why, errNudged) || time.Since(since) >= goodAfter
}

// unreachable notes that no connection came about.
func (a *Agent) unreachable(err error, missed *failures) {
	a.note(func(s *Status) { s.LastError = err.Error() })
	if times, say := missed.add(err); say {
		a.log.Warn("agent_unreachable", "addr", a.keys.Address, "err", err, "count", times)
	}
}
