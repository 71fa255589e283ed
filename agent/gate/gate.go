// Package gate lets the engine through to the ports of this device that are allowed.
//
// A [Gate] answers for every port of this end of a tunnel. What the engine opens to
// a port that is allowed leads to the same port on 127.0.0.1, and one of these, the
// shell's, to the agent's own server. Whatever else comes is refused as if nobody
// listened: ports that are not allowed, and anybody but the engine. Nothing else of
// the device, and no other address, is reached through it.
//
// In mode wireguard-nt Windows itself answers, and the gate has two things left to do:
// to tell the filter before it what is allowed, and to serve the shell's port. What
// differs then: the engine reaches what listens on this end's address or on all
// addresses, not on 127.0.0.1 alone; what is not allowed gets no answer, rather than a
// refusal; and a connection to a port that is allowed no more falls silent, rather
// than being reset, unless it is the shell's.
package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"borealis/agent/wire"
	"borealis/tunnel/token"
	"borealis/tunnel/wg"
)

// Limits of a gate. What comes beyond them is refused, and logged.
const (
	MaxTCP     = 512 // TCP connections at once, of the shell too.
	MaxPending = 128 // Of those, the ones that are not open yet.
	MaxUDP     = 256 // Flows of UDP at once.
)

// Times of a gate.
const (
	dialTimeout   = 5 * time.Second  // To reach a port of the device.
	udpIdle       = 60 * time.Second // After which a flow of UDP without datagrams is forgotten.
	complainAgain = 10 * time.Second // Between two lines in the log about the same.
)

// Protocols, as [token.Port] has them.
const (
	tcp = "tcp"
	udp = "udp"
)

// ErrStale is returned by [Gate.Set] for ports that are older than those in force.
var ErrStale = errors.New("the ports in force are newer")

// Config says for whom a gate opens, and what.
type Config struct {
	Engine netip.Addr   // The only address that may open anything.
	Ports  []token.Port // What is allowed from the start, as revision 0.
	Logger *slog.Logger // nil is silent.
}

// Gate is what the engine must pass. Its methods are safe for concurrent use.
// Whoever made it closes it.
type Gate struct {
	engine  netip.Addr
	log     *slog.Logger
	shell   *listener
	idle    time.Duration  // Of UDP.
	running sync.WaitGroup // One for each flow, and for the host's listener.

	setting sync.Mutex // Held while the filter is told what is allowed; before mu.
	filter  filter     // Of the host, or nil. Guarded by setting.

	mu         sync.Mutex
	closed     bool
	host       net.Listener // For the shell, of the host; or nil.
	revision   int64
	ports      []token.Port
	flows      map[*flow]struct{}
	tcp        int // Flows of TCP; udp those of UDP.
	pending    int // Flows of TCP that are not open yet.
	udp        int
	complained map[string]time.Time // When last, by reason.
}

// flow is one TCP connection, or one flow of UDP.
type flow struct {
	protocol string
	port     uint16
	refuse   func()             // Closes it with a reset, at whatever point it is.
	cancel   context.CancelFunc // Ends all that the flow waits for.
	pending  bool               // Guarded by Gate.mu.
}

// cut ends a flow at once, at whatever point it is. The engine gets a reset.
func (f *flow) cut() {
	f.cancel()
	f.refuse()
}

// New makes a gate. Nothing comes through it before [Gate.Guard].
func New(c Config) *Gate {
	g := &Gate{
		engine: c.Engine, log: c.Logger, idle: udpIdle, ports: slices.Clone(c.Ports),
		shell: newListener(), flows: make(map[*flow]struct{}), complained: make(map[string]time.Time),
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	return g
}

// Guard puts the gate up in front of all ports of this end of a tunnel. It may be called
// once. The error is [errors.ErrUnsupported] unless the interface has its own network
// stack, or a filter.
func (g *Gate) Guard(link *wg.Interface) error {
	var err error
	if link.Mode() == wg.NT {
		err = g.guardHost(link.Allow, func() (net.Listener, error) {
			return link.ListenTCP(netip.AddrPortFrom(link.Address(), wire.ShellPort))
		})
	} else {
		err = link.Receive(wg.Arrivals{TCP: g.arriveTCP, UDP: g.arriveUDP})
	}
	if err != nil {
		return fmt.Errorf("guard the tunnel: %w", err)
	}
	return nil
}

// Shell returns where connections to [wire.ShellPort] come out, always the same one.
// It is there while the port is not allowed too; then nothing comes. Closing it
// refuses them for good.
func (g *Gate) Shell() net.Listener { return g.shell }

// Set makes ports all that is allowed. When it returns, the engine has got a reset
// for each open flow to a port that is allowed no more, and no other flow was
// touched. The revision is higher than the one before, else nothing changes and the
// error is [ErrStale]; but the very same again is no error. When the filter of a host
// fails, nothing is allowed until the next time, and the error says so.
func (g *Gate) Set(revision int64, ports []token.Port) error {
	g.setting.Lock()
	defer g.setting.Unlock()
	g.mu.Lock()
	if revision == g.revision && slices.Equal(ports, g.ports) {
		g.mu.Unlock()
		return g.allowSetting(ports) // It may have failed the last time.
	}
	if revision <= g.revision {
		defer g.mu.Unlock()
		return fmt.Errorf("set ports to revision %d after %d: %w", revision, g.revision, ErrStale)
	}
	g.revision, g.ports = revision, slices.Clone(ports)
	var closing []*flow
	for f := range g.flows {
		if !allows(ports, f.protocol, f.port) {
			closing = append(closing, f)
		}
	}
	g.mu.Unlock()
	for _, f := range closing {
		f.cut() // Before the filter, which would not let a reset out.
	}
	return g.allowSetting(ports)
}

// Close cuts every flow and refuses all that comes later. When it returns, nothing
// of the gate is left running. It may be called more than once.
func (g *Gate) Close() {
	g.mu.Lock()
	g.closed = true
	var closing []*flow
	for f := range g.flows {
		closing = append(closing, f)
	}
	host := g.host
	g.mu.Unlock()
	_ = g.shell.Close()
	if host != nil {
		host.Close()
	}
	for _, f := range closing {
		f.cut()
	}
	g.setting.Lock()
	if err := g.allowSetting(nil); err != nil {
		g.log.Warn("gate_filter", "err", err)
	}
	g.setting.Unlock()
	g.running.Wait()
}

// allows reports whether one of ports covers a port of a protocol.
func allows(ports []token.Port, protocol string, port uint16) bool {
	return slices.ContainsFunc(ports, func(p token.Port) bool {
		return p.Protocol == protocol && p.From <= port && port <= p.To
	})
}

// admit makes a flow of what has arrived at a port, or nil if it is to be refused. The
// context ends when the flow is cut. Leave must follow.
func (g *Gate) admit(protocol string, from netip.AddrPort, port uint16, refuse func()) (*flow, context.Context) {
	g.mu.Lock()
	reason, open := g.refusalLocked(protocol, from.Addr(), port)
	if !open {
		complain := g.complainLocked(reason)
		g.mu.Unlock()
		if complain {
			g.log.Warn("gate_refused", "addr", from, "protocol", protocol, "port", port, "reason", reason)
		}
		return nil, nil
	}
	defer g.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	f := &flow{protocol: protocol, port: port, refuse: refuse, cancel: cancel}
	if protocol == tcp {
		f.pending = true
		g.tcp++
		g.pending++
	} else {
		g.udp++
	}
	g.flows[f] = struct{}{}
	g.running.Add(1)
	return f, ctx
}

// refusalLocked reports whether what has arrived is let through, and if not, why, if
// that is worth a line in the log. That a port is not allowed is none.
func (g *Gate) refusalLocked(protocol string, from netip.Addr, port uint16) (reason string, open bool) {
	switch {
	case g.closed:
		return "", false
	case from != g.engine:
		return "not the engine", false
	case !allows(g.ports, protocol, port):
		return "", false
	case protocol == tcp && g.tcp >= MaxTCP, protocol == udp && g.udp >= MaxUDP:
		return "too many connections", false
	case protocol == tcp && g.pending >= MaxPending:
		return "too many connections that are not open yet", false
	}
	return "", true
}

// complainLocked reports whether a reason is to be logged, which it is now and then.
func (g *Gate) complainLocked(reason string) bool {
	now := time.Now()
	if reason == "" || now.Sub(g.complained[reason]) < complainAgain {
		return false
	}
	g.complained[reason] = now
	return true
}

// open notes that a flow is no longer pending.
func (g *Gate) open(f *flow) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.openLocked(f)
}

func (g *Gate) openLocked(f *flow) {
	if f.pending {
		f.pending = false
		g.pending--
	}
}

// leave forgets a flow that is over.
func (g *Gate) leave(f *flow) {
	f.cancel()
	g.mu.Lock()
	g.openLocked(f)
	if f.protocol == tcp {
		g.tcp--
	} else {
		g.udp--
	}
	delete(g.flows, f)
	g.mu.Unlock()
	g.running.Done()
}

// isShell reports whether a flow is for the agent's own server.
func (f *flow) isShell() bool { return f.protocol == tcp && f.port == wire.ShellPort }
