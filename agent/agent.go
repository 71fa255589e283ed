// Package agent keeps an agent in touch with its engine, its tunnel up or down as asked.
//
// An [Agent] holds one channel to its engine and redials it for as long as it
// runs. Over the channel the engine asks for a tunnel; the agent brings up at
// most one, and only for a token that its pinned engine signed for this agent,
// this tunnel and this very connection. What the engine reaches through it are the
// ports that the token allows, or the last policy after it, signed in the same way.
// After a restart no tunnel is up.
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
	Link    wg.Mode      // wg.Auto or wg.Netstack, which are the same today; "" is wg.Auto.
	Shell   string       // Absolute path of the shell; "" is the platform's own.
	Version string       // Of the program, told to the engine.
	Logger  *slog.Logger // nil is silent.
}

// Status is what an agent is doing.
type Status struct {
	Connected bool
	State     string    // Of the device at the engine, pending or active; "" before the first connection.
	Since     time.Time // Of Connected's last change; zero before the first connection.
	Tunnel    string    // The id of the tunnel it holds, or "".
	Engine    string    // The engine's host:port.
	LastError string    // Why the last connection failed or ended; "" while connected.
}

// Agent keeps in touch with one engine. Its methods are safe for concurrent use.
type Agent struct {
	dir     string      // Of the keys.
	keys    *keys.Agent // As they were at the opening.
	shell   string
	version string
	facts   facts
	log     *slog.Logger
	seen    replay

	data    string // The data root.
	mode    wg.Mode
	plane   *dataplane // What tunnels stand on; opened by Run.
	limits  *limits.Policy
	tunnels sync.WaitGroup // One for each session's goroutine.

	mu      sync.Mutex
	engine  keys.Pin // Who the engine is, and who it is going to be; zero when that is not known.
	next    keys.Pin
	status  Status
	out     chan<- wire.FromAgent // To the engine; nil without a channel.
	drop    func(error)           // Ends the channel of out.
	current *session              // The newest tunnel; nil when there is none.
	last    wire.Stopped          // The last tunnel that ended by itself.
	closing bool
}

// keysDir is where an agent's keys are below its data root.
func keysDir(data string) string {
	return filepath.Join(data, "Agent", "Borealis", "Certificates", "VPN_Client")
}

// Open loads the keys of an enrolled agent. The error is [keys.ErrNotEnrolled]
// when it does not belong to an engine yet. Nothing runs until [Agent.Run].
func Open(c Config) (*Agent, error) {
	switch c.Link {
	case "", wg.Auto, wg.Netstack:
	default:
		return nil, fmt.Errorf("open agent: link %q: an agent has netstack only", c.Link)
	}
	dir := keysDir(c.Data)
	k, err := keys.OpenAgent(dir)
	if err != nil {
		return nil, fmt.Errorf("open agent: %w", err)
	}
	policy, err := limits.Load(filepath.Join(c.Data, "Agent", "policy.json"))
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
		data:    c.Data,
		mode:    c.Link,
		limits:  policy,
		plane:   &dataplane{mode: wg.Netstack}, // until Run
		log:     c.Logger,
		status:  Status{Engine: k.Address},
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	return a, nil
}

// A Fingerprint names the two ends that trust each other, for people to compare.
type Fingerprint struct {
	Device  keys.Pin // This agent's identity.
	Engine  keys.Pin // The engine's, the newest that this agent knows.
	Address string   // The engine's host:port.
}

// ReadFingerprint reads who the agent with a data root and its engine are. The error is
// [keys.ErrNotEnrolled] when it does not belong to an engine yet.
func ReadFingerprint(data string) (Fingerprint, error) {
	k, err := keys.OpenAgent(keysDir(data))
	if err != nil {
		return Fingerprint{}, fmt.Errorf("read fingerprint: %w", err)
	}
	f := Fingerprint{Device: k.Identity.Pin(), Engine: k.Engine, Address: k.Address}
	if !k.Next.IsZero() {
		f.Engine = k.Next
	}
	return f, nil
}

// Run keeps in touch with the engine until ctx ends. Then it takes the tunnel
// down, tells the engine, closes the channel and returns nil; nothing of it is
// left running. It may be called once. The error is [keys.ErrInUse] when another
// process runs as this agent.
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
	// The channel outlives ctx by as long as it takes to say goodbye on it.
	channel, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	var touch sync.WaitGroup
	touch.Go(func() {
		retry(ctx, newBackoff(), func(ctx context.Context) bool { return a.connect(ctx, channel) })
	})
	<-ctx.Done()
	a.shutDown()
	hangUp()
	touch.Wait()
	return nil
}

// Status returns what the agent is doing now.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.status
	s.Tunnel = a.heldLocked()
	return s
}

// decided notes what an administrator decided about the device.
func (a *Agent) decided(state string) {
	a.mu.Lock()
	a.status.State = state
	a.mu.Unlock()
	a.log.Info("device_state", "reason", state)
}

// connect makes one connection and stays on it until it ends or channel does.
// It reports whether the connection was good for long enough to try again soon.
func (a *Agent) connect(ctx, channel context.Context) (good bool) {
	c, err := a.dial(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.unreachable(err)
		}
		return false
	}
	since := time.Now()
	a.attend(channel, c)
	return time.Since(since) >= goodAfter
}

// unreachable notes that no connection came about.
func (a *Agent) unreachable(err error) {
	a.mu.Lock()
	a.status.LastError = err.Error()
	a.mu.Unlock()
	a.log.Warn("agent_unreachable", "addr", a.keys.Address, "err", err)
}
