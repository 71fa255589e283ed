package tunnel

import (
	"context"
	"slices"
	"strings"
	"sync"

	"borealis/store"
	"borealis/tunnel/wg"
)

// proofs makes the proofs of one tunnel, one at a time.
type proofs struct {
	wake chan struct{} // has room for one: a run was asked for

	mu      sync.Mutex
	asked   *proofRun          // waits to be made or is being made; nil when none is
	cancel  context.CancelFunc // ends the attempt under way; nil when there is none
	stale   bool               // the ports changed since the attempt began
	last    Proof
	probing map[wg.Flow]int // flows that are probes
}

// A proofRun is one proof for all who asked for it.
type proofRun struct {
	done  chan struct{} // closed when proof is there; never when the tunnel ends before
	proof Proof
}

func newProofs() *proofs {
	return &proofs{wake: make(chan struct{}, 1), probing: make(map[wg.Flow]int)}
}

// request asks for a proof, or joins the run that is asked for already. A fresh one
// begins after the call, even when one is being made.
func (p *proofs) request(fresh bool) *proofRun {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked == nil {
		p.asked = &proofRun{done: make(chan struct{})}
		offer(p.wake, struct{}{})
	} else if fresh {
		p.interruptLocked()
	}
	return p.asked
}

// interrupt makes an attempt that is under way begin again: the ports change.
func (p *proofs) interrupt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.interruptLocked()
}

func (p *proofs) interruptLocked() {
	if p.cancel != nil {
		p.stale = true
		p.cancel()
	}
}

// state returns the last proof and whether one is being made or about to be.
func (p *proofs) state() (last Proof, making bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last, p.asked != nil
}

// begin starts an attempt. end reports whether it still counts.
func (p *proofs) begin(ctx context.Context) (attempt context.Context, end func() bool) {
	attempt, cancel := context.WithCancel(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel, p.stale = cancel, false
	return attempt, func() bool {
		cancel()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cancel = nil
		return !p.stale && ctx.Err() == nil
	}
}

// outdated reports whether the attempt under way does not count any more.
func (p *proofs) outdated() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stale
}

// finish hands a proof to all who asked for it.
func (p *proofs) finish(proof Proof) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.asked.proof = proof, proof
	close(p.asked.done)
	p.asked = nil
}

// probe counts a flow as a probe until done is called.
func (p *proofs) probe(f wg.Flow) (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probing[f]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.probing[f]--; p.probing[f] == 0 {
			delete(p.probing, f)
		}
	}
}

// without returns the flows that are not probes.
func (p *proofs) without(all []wg.Flow) []wg.Flow {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := make(map[wg.Flow]int)
	return slices.DeleteFunc(all, func(f wg.Flow) bool {
		seen[f]++
		return seen[f] <= p.probing[f]
	})
}

// keepProving makes a proof when the tunnel is up and whenever one is asked for,
// until the tunnel ends.
func (s *session) keepProving(ctx context.Context) {
	s.proofs.request(false)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.proofs.wake:
		}
		select { // many tunnels may come up at once
		case <-ctx.Done():
			return
		case s.manager.proving <- struct{}{}:
		}
		p, ok := s.proof(ctx)
		for !ok && ctx.Err() == nil {
			p, ok = s.proof(ctx)
		}
		<-s.manager.proving
		if !ok {
			return
		}
		s.proofs.finish(p)
		s.manager.watch.tell(s.device.ID)
	}
}

// proof makes one attempt at a proof. It reports false when the ports changed under
// it or the tunnel ends.
func (s *session) proof(ctx context.Context) (Proof, bool) {
	release, err := take(ctx, s.changing)
	if err != nil {
		return Proof{}, false
	}
	s.mu.Lock()
	t := trial{session: s, policy: s.policy, open: s.ports}
	s.mu.Unlock()
	t.confirmed = s.confirmed()
	attempt, end := s.proofs.begin(ctx)
	release()
	p := t.run(attempt)
	if len(p.Alarms) > 0 && !s.proofs.outdated() && ctx.Err() == nil {
		s.alarm(ctx, p)
		t.repair(attempt)
		if p = t.run(attempt); p.reached() && !s.proofs.outdated() && ctx.Err() == nil {
			s.fail(FirewallLost, strings.Join(p.Alarms, " "))
		}
	}
	return p, end()
}

// alarm writes down that what is shown is not what is.
func (s *session) alarm(ctx context.Context, p Proof) {
	m, what := s.manager, bounded(strings.Join(p.Alarms, " "))
	m.log.ErrorContext(ctx, "ports_mismatch", "tunnel", s.id, "agent", s.device.ID, "reason", what)
	m.record(store.Record{DeviceID: s.device.ID, TunnelID: s.id, Kind: "ports_mismatch", Detail: what})
	m.watch.tell(s.device.ID)
}

// reached reports whether a port that is closed answers.
func (p Proof) reached() bool {
	return slices.ContainsFunc(p.Closed, func(c Probe) bool { return c.Result == Reachable })
}
