package tunnel

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/acl"
	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/keys"
	"borealis/tunnel/wg"
)

// A State is how far a tunnel is.
type State string

// The states in their order. Down is a device that never had a tunnel.
const (
	Down      State = "down"
	Requested State = "requested"
	Offered   State = "offered"
	Ready     State = "ready"
	Peered    State = "peered"
	Up        State = "up"
	Closing   State = "closing"
	Ended     State = "ended"
)

// A session is a tunnel from its request to its end. One goroutine, run, takes it
// through its states; everybody else sends that goroutine an answer or ends it.
type session struct {
	manager     *Manager
	id          string
	device      store.Device
	requester   Holder // who asked for it
	vip         netip.Addr
	endpoint    string
	tokenID     string
	token       string
	nonce       string   // of the connection that the tunnel was offered on
	identity    keys.Pin // of the engine, on that connection
	psk         wgtypes.Key
	shellKey    ed25519.PrivateKey
	link        *wg.Interface
	requestedAt time.Time

	cancel  context.CancelCauseFunc
	cause   func() error    // what cancel was told; nil before
	dying   <-chan struct{} // closed when the tunnel was told to end
	answers chan answer     // from the agent; the first one counts
	gone    chan struct{}   // the agent's connection was lost
	back    chan struct{}   // and came back
	ended   chan struct{}   // closed when nothing of the tunnel is left
	idle    *idleTimer
	proofs  *proofs

	attending sync.WaitGroup // terminals whose end is not recorded yet
	carried   carried        // what the counters of all tunnels know of this one

	changing chan struct{} // the device's turn to change which ports are open
	joining  chan struct{} // holds one token; who has it may attach a holder

	mu        sync.Mutex
	state     State
	steps     []store.Step
	changed   chan struct{} // closed and replaced at each step
	reason    Reason
	upAt      time.Time
	endedAt   time.Time
	agentKey  wgtypes.Key // zero until the agent answered
	heard     bool        // its WireGuard was, or is not waited for any more
	final     wg.PeerState
	holders   map[holderKey]*attachment
	terminals map[string]*liveTerminal // by the id of the terminal
	opened    int                      // terminals so far

	policy   acl.Policy
	ports    []acl.Port    // that the policy has open
	revised  bool          // they differ from the token's
	spoke    bool          // the shell's port answered, and was not closed since
	admitted bool          // the agent was told to begin; from here on a change is applied at once
	sent     int64         // revision of the ports last sent to the agent; 0 is the token's
	applied  int64         // revision that the agent said it enforces
	told     chan struct{} // closed and replaced when applied changes
	flows    map[*flow]struct{}
}

// An answer is what an agent says to an offer: one of the two.
type answer struct {
	ready   *wire.Ready
	refused *wire.Refused
	nonce   string
}

// end ends the tunnel for a reason. The first reason counts. It does not wait.
func (s *session) end(r Reason) { s.cancel(&failure{reason: r}) }

// fail is end with a detail for people.
func (s *session) fail(r Reason, detail string) { s.cancel(&failure{reason: r, detail: detail}) }

func (s *session) offerAnswer(a answer) { offer(s.answers, a) }
func (s *session) agentGone()           { offer(s.gone, struct{}{}) }
func (s *session) agentBack()           { offer(s.back, struct{}{}) }

func (s *session) closing() bool {
	select {
	case <-s.dying:
		return true
	default:
		return false
	}
}

// why is the reason for which a session ends or, when it goes on, for which somebody has
// no part in it any more.
func (s *session) why() Reason {
	if f, ok := errors.AsType[*failure](s.cause()); ok {
		return f.reason
	}
	return OperatorLeft
}

// offer puts v into a channel that has room for one, or drops it.
func offer[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

// step moves the tunnel on and tells everybody.
func (s *session) step(state State, detail string) { s.stepAt(state, detail, time.Now()) }

// stepAt is step for what was at a time that is noted elsewhere too.
func (s *session) stepAt(state State, detail string, at time.Time) {
	s.mu.Lock()
	before := s.requestedAt
	if n := len(s.steps); n > 0 {
		before = s.steps[n-1].At
	}
	s.state = state
	s.steps = append(s.steps, store.Step{Name: string(state), At: at, Detail: detail})
	switch state {
	case Up:
		s.upAt = at
	case Ended:
		s.endedAt = at
	}
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	s.manager.config.Observe.step(state, at.Sub(before))
	s.note(string(state))
	s.manager.watch.tell(s.device.ID)
}

// note logs that the tunnel has come to a point.
func (s *session) note(point string) {
	s.manager.log.Debug("tunnel_step", "tunnel", s.id, "agent", s.device.ID, "step", point)
}

// A failure is why a tunnel did not come up, or ended.
type failure struct {
	reason Reason
	detail string      // for people
	by     store.Actor // who ended it; the zero value is the engine or the agent
}

// Error makes a failure the cause that ends a session's context.
func (f *failure) Error() string { return string(f.reason) }

// run takes the tunnel through its life. It returns when nothing of it is left.
func (s *session) run(ctx context.Context) {
	defer close(s.ended)
	var work sync.WaitGroup
	f := s.establish(ctx)
	if f == nil {
		work.Go(func() { s.keepProving(ctx) })
		f = s.hold(ctx)
	}
	if ended, ok := errors.AsType[*failure](context.Cause(ctx)); ok {
		f = ended // somebody ended it before it failed by itself
	}
	s.end(f.reason)
	s.removePeer(ctx) // nothing passes from here on, whatever has to be waited for
	s.note("peer_removed")
	work.Wait()
	s.tearDown(context.WithoutCancel(ctx), *f)
}

// hold keeps a tunnel that is up until it ends.
func (s *session) hold(ctx context.Context) *failure {
	renew := time.NewTicker(wire.Renewal)
	defer renew.Stop()
	over := make(chan struct{})
	defer s.manager.config.after(s.id, s.manager.config.MaxDuration, func() { close(over) })()
	for {
		select {
		case <-ctx.Done():
			return &failure{reason: InternalError}
		case <-over:
			return &failure{reason: MaxDuration}
		case <-renew.C:
			s.send(wire.FromEngine{Renew: &wire.Renew{Tunnel: s.id, Seconds: int(wire.Lease.Seconds())}})
		case <-s.back: // a new connection took the place of the one before
			s.resync(ctx)
		case <-s.gone:
			if f := s.awaitAgent(ctx); f != nil {
				return f
			}
		}
	}
}

// awaitAgent gives an agent whose connection was lost the time to come back, as
// long as it is there: a tunnel survives a flap of the control connection, but not
// the end of the agent.
func (s *session) awaitAgent(ctx context.Context) *failure {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.manager.config.after(s.id, wire.ChannelGrace, cancel)()
	probe := time.NewTicker(probeEvery)
	defer probe.Stop()
	for failed := 0; ; {
		if s.manager.channel(s.device.ID) != nil {
			s.send(wire.FromEngine{Renew: &wire.Renew{Tunnel: s.id, Seconds: int(wire.Lease.Seconds())}})
			s.resync(ctx)
			return nil
		}
		select {
		case <-ctx.Done():
			return &failure{reason: AgentLost, detail: "the agent did not come back"}
		case <-s.back:
		case <-probe.C:
			if !s.askable() || s.alive(s.probe(ctx, probeEvery)) {
				failed = 0 // without the shell's port there is nothing to ask: the time decides
			} else if failed++; failed == probesLost {
				return &failure{reason: AgentLost, detail: "nothing answers in the tunnel"}
			}
		}
	}
}

// alive reports whether somebody has answered a probe: a refusal is an answer too.
func (s *session) alive(err error) bool { return err == nil || errors.Is(err, syscall.ECONNREFUSED) }

// send queues a message for the tunnel's agent, if it is there.
func (s *session) send(msg wire.FromEngine) bool {
	c := s.manager.channel(s.device.ID)
	return c != nil && c.send(msg)
}

// tearDown takes away all that the tunnel has on this host, the peer first, so that
// nothing passes any more, and writes down why. What has ended stays so, also when that
// can only be written down later.
func (s *session) tearDown(ctx context.Context, f failure) {
	m := s.manager
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer m.config.after(s.id, endTimeout, cancel)()
	s.step(Closing, f.detail)
	s.idle.stop()
	s.endFlows(f.reason)
	s.closePorts(ctx)
	s.note("ports_closed")
	s.send(wire.FromEngine{Stop: &wire.Stop{Tunnel: s.id, Reason: string(f.reason)}})
	s.mu.Lock()
	s.reason = f.reason
	s.holders = nil
	final := s.final
	s.mu.Unlock()
	s.step(Ended, string(f.reason))
	m.recorder.settle(ctx, s.ending(f, final)) // before the next tunnel of the device is made
	s.note("recorded")
	m.forget(s)
	m.log.InfoContext(ctx, "tunnel_down", "tunnel", s.id, "agent", s.device.ID, "reason", f.reason, "detail", f.detail)
	m.config.Observe.ended(f.reason, time.Since(s.requestedAt))
	m.watch.tell(s.device.ID)
}

// ending is the end of the tunnel as it is stored and recorded.
func (s *session) ending(f failure, final wg.PeerState) *entry {
	at, steps := time.Now(), s.timeline()
	did := store.Record{At: at, DeviceID: s.device.ID, TunnelID: s.id, Kind: "tunnel_down", Reason: string(f.reason), Detail: bounded(f.detail)}.By(f.by)
	return &entry{
		kind: did.Kind, device: s.device.ID, tunnel: s.id, must: true,
		write: func(ctx context.Context) error {
			_, err := s.manager.config.Store.EndTunnel(ctx, s.id, string(f.reason), at, final.ReceivedBytes, final.SentBytes, steps, did)
			return err
		},
	}
}

// closePorts closes the tunnel's address on the engine, after any change of its
// ports that is under way.
func (s *session) closePorts(ctx context.Context) {
	if release, err := take(ctx, s.changing); err == nil {
		defer release()
	}
	if err := s.manager.plan.set(ctx, s.vip, nil); err != nil {
		s.manager.log.ErrorContext(ctx, "firewall_failed", "tunnel", s.id, "err", err)
	}
}

// removePeer cuts the tunnel and keeps its last counters.
func (s *session) removePeer(ctx context.Context) {
	s.mu.Lock()
	key, known := s.agentKey, s.final.PublicKey == s.agentKey
	s.mu.Unlock()
	if key == (wgtypes.Key{}) {
		return
	}
	if !known { // else they were read when all peers were removed at once
		final, _, _ := s.link.Peer(key) // an interface that is gone has no counters
		s.mu.Lock()
		s.final = final
		s.mu.Unlock()
	}
	if err := s.link.RemovePeer(key); err != nil {
		s.manager.log.WarnContext(ctx, "peer_remove_failed", "tunnel", s.id, "err", err)
	}
}

func (s *session) timeline() []store.Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]store.Step(nil), s.steps...)
}
