package tunnel

import (
	"context"
	"time"

	"borealis/acl"
)

// A Proof is what probing a live tunnel showed: whether the ports that are allowed
// can be reached, and whether those that are not are refused.
type Proof struct {
	At        time.Time
	Took      time.Duration
	Revision  int64    // of the policy that was proven
	By        string   // what refuses on the engine: "iptables" or "dialer"
	Confirmed bool     // the agent said that it enforces this policy
	Open      []Probe  // every allowed port; of a range its first and last
	Closed    []Probe  // a sample of the ports that are not allowed
	Refused   uint64   // packets that the host's firewall counted as refused meanwhile; 0 without one
	Alarms    []string // what is not as shown, one sentence each; empty = all is
}

// A Probe is one port and what became of an attempt to reach it.
type Probe struct {
	Port   acl.Port // From == To
	Result Result
}

// A Result is what became of an attempt to reach a port.
type Result string

// Every result there is.
const (
	Answers         Result = "answers"
	NoListener      Result = "no_listener"       // allowed, and nothing listens there
	RefusedByDevice Result = "refused_by_device" // allowed, and the device refuses for reasons of its own
	Silent          Result = "silent"            // allowed, and nothing came back
	Refused         Result = "refused"           // closed and refused: as it should be
	Blocked         Result = "blocked"           // allowed, and the engine's firewall refuses: an alarm
	Reachable       Result = "reachable"         // closed, and it answers: an alarm
)

// Answering counts the allowed ports that answer.
func (p Proof) Answering() int {
	n := 0
	for _, o := range p.Open {
		if o.Result == Answers {
			n++
		}
	}
	return n
}

// OK reports whether all is as it is shown.
func (p Proof) OK() bool { return len(p.Alarms) == 0 }

// Prove probes a device's live tunnel now and returns what that showed. Calls that
// come while a proof is being made share it. The error is [ErrNotUp] without a live
// tunnel, or when the tunnel ends meanwhile.
func (m *Manager) Prove(ctx context.Context, deviceID string) (Proof, error) {
	s := m.session(deviceID)
	if s == nil || s.device.ID != deviceID {
		return Proof{}, ErrNotUp
	}
	s.mu.Lock()
	up := s.state == Up
	s.mu.Unlock()
	if !up {
		return Proof{}, ErrNotUp
	}
	run := s.proofs.request(false)
	select {
	case <-run.done:
		return run.proof, nil
	case <-s.dying:
		return Proof{}, ErrNotUp
	case <-ctx.Done():
		return Proof{}, ctx.Err()
	}
}
