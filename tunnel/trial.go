package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"borealis/acl"
	"borealis/acl/netfilter"
	"borealis/tunnel/wg"
)

const (
	proofTimeout = 10 * time.Second // for all probes of a proof
	probeTimeout = time.Second      // for one
	probesAtOnce = 16               // of one proof
	proofsAtOnce = 64               // of all tunnels
	maxAlarms    = 20               // that one proof tells one by one
)

// A trial is one attempt to find out whether the ports of a tunnel are as its policy
// says.
type trial struct {
	session   *session
	policy    acl.Policy
	open      []acl.Port
	confirmed bool // by the agent
}

// An outcome is what a probe met.
type outcome int

const (
	notTried outcome = iota // the time was up
	silent                  // nothing came back
	answered                // a connection, or a datagram
	refused                 // by whoever is behind the tunnel, or on the way there
	denied                  // by this host
)

// A probing is one probe of a trial.
type probing struct {
	port    acl.Port
	rule    acl.Port // of the open ports that it belongs to
	outcome outcome
}

// run probes. The end of ctx makes what is left silent.
func (t *trial) run(ctx context.Context) Proof {
	begun := time.Now()
	p := Proof{Revision: t.policy.Revision, By: byDialer, Confirmed: t.confirmed}
	firewall := t.session.manager.hostFirewall()
	if firewall != nil {
		p.By = byIPTables
	}
	open, closed := openProbes(t.open), closedProbes(t.open)
	before, err := t.counters(ctx, firewall)
	t.probe(ctx, closed, open)
	var after netfilter.Counters
	if err == nil {
		after, err = t.counters(ctx, firewall)
	}
	var counted *count
	if firewall != nil && err == nil {
		counted = &count{before, after}
		p.Refused = grown(before.Refused, after.Refused)
	} else if err != nil {
		p.Alarms = append(p.Alarms, fmt.Sprintf("The counters of the host's packet filter cannot be read: %v.", err))
	}
	t.judgeClosed(&p, closed, counted)
	t.judgeOpen(&p, open, counted)
	if more := len(p.Alarms) - maxAlarms; more > 0 {
		p.Alarms = append(p.Alarms[:maxAlarms], fmt.Sprintf("And %d more.", more))
	}
	p.At, p.Took = time.Now(), time.Since(begun)
	return p
}

// repair lets the host's firewall look at its rules, and mend them, before a second run.
func (t *trial) repair(ctx context.Context) {
	if f := t.session.manager.hostFirewall(); f != nil {
		if err := f.Check(ctx); err != nil && ctx.Err() == nil {
			t.session.manager.log.ErrorContext(ctx, "firewall_check", "tunnel", t.session.id, "err", err)
		}
	}
}

// hostFirewall returns the firewall of the host; nil in netstack mode.
func (m *Manager) hostFirewall() *netfilter.Firewall {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.link.firewall
}

func (t *trial) counters(ctx context.Context, f *netfilter.Firewall) (netfilter.Counters, error) {
	if f == nil {
		return netfilter.Counters{}, nil
	}
	return f.Counters(ctx, t.session.vip)
}

// A count is what the host's firewall counted before and after the probes.
type count struct{ before, after netfilter.Counters }

// accepted is how many packets it let through by the rule of a port.
func (c *count) accepted(rule acl.Port) uint64 {
	return grown(counter(c.before.Accepted, rule), counter(c.after.Accepted, rule))
}

func counter(all map[acl.Port]uint64, rule acl.Port) uint64 {
	for p, n := range all {
		if p.Protocol == rule.Protocol && p.From == rule.From && p.To == rule.To {
			return n
		}
	}
	return 0
}

// grown is by how much a counter grew that may have begun again from zero.
func grown(before, after uint64) uint64 {
	if after < before {
		return after
	}
	return after - before
}

// judgeClosed says what the probes of closed ports mean.
func (t *trial) judgeClosed(p *Proof, probes []probing, counted *count) {
	sent := uint64(0) // attempts that the host's firewall must have counted
	for _, o := range probes {
		if o.outcome == notTried {
			continue
		}
		if o.port.Protocol == acl.TCP {
			sent++
		}
		result := Refused
		switch o.outcome {
		case answered:
			result = Reachable
			p.Alarms = append(p.Alarms, fmt.Sprintf("%s is closed, and it answers.", o.port))
		case silent:
			result = Silent
		case notTried, refused, denied:
		}
		if t.session.dials(o.port) {
			p.Alarms = append(p.Alarms, fmt.Sprintf("%s is closed, and the engine would connect to it.", o.port))
		}
		p.Closed = append(p.Closed, Probe{o.port, result})
	}
	if counted != nil && p.Refused < sent {
		p.Alarms = append(p.Alarms, fmt.Sprintf("The host's packet filter did not refuse all that it should: %d attempts on closed ports, %d counted.", sent, p.Refused))
	}
}

// judgeOpen says what the probes of open ports mean.
func (t *trial) judgeOpen(p *Proof, probes []probing, counted *count) {
	for _, o := range probes {
		result := Silent
		switch {
		case o.outcome == answered:
			result = Answers
		case o.outcome == denied || !t.session.dials(o.port) || o.outcome != notTried && !passed(probes, o.rule, counted):
			result = Blocked
			p.Alarms = append(p.Alarms, fmt.Sprintf("%s is allowed, and the engine's host refuses it.", o.port))
		case o.outcome == refused && t.confirmed:
			result = NoListener
		case o.outcome == refused:
			result = RefusedByDevice
		}
		p.Open = append(p.Open, Probe{o.port, result})
	}
}

// passed reports whether the host's firewall let all probes of a rule through.
func passed(probes []probing, rule acl.Port, counted *count) bool {
	if counted == nil {
		return true
	}
	least := uint64(0)
	for _, o := range probes {
		switch {
		case o.rule != rule || o.outcome == notTried:
		case o.outcome == answered && o.port.Protocol == acl.TCP:
			least += 2 // the beginning of a connection, and the acknowledgement
		default:
			least++
		}
	}
	return counted.accepted(rule) >= least
}

// probe probes all ports, a few at a time, the closed ones first: they are quick.
func (t *trial) probe(ctx context.Context, closed, open []probing) {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	var work errgroup.Group
	work.SetLimit(probesAtOnce)
	for _, probes := range [][]probing{closed, open} {
		for i := range probes {
			work.Go(func() error {
				if ctx.Err() == nil {
					probes[i].outcome = t.session.try(ctx, probes[i].port)
				}
				return nil
			})
		}
	}
	_ = work.Wait() // none of them fails
}

// dials reports whether the engine's own dialer lets a connection to a port through.
func (s *session) dials(p acl.Port) bool {
	return s.manager.guard.Check(p.Protocol, netip.AddrPortFrom(s.vip, p.From)) == nil
}

// try makes an attempt to reach a port. It goes past the engine's own guard, so that
// what else is in the way has to refuse.
func (s *session) try(ctx context.Context, p acl.Port) outcome {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	to := netip.AddrPortFrom(s.vip, p.From)
	dial := s.link.DialTCP
	if p.Protocol == acl.UDP {
		dial = s.link.DialUDP
	}
	c, err := dial(ctx, to)
	if err != nil {
		return outcomeOf(err)
	}
	defer s.proofs.probe(wg.Flow{Protocol: p.Protocol, Port: p.From})()
	defer c.Close()
	if p.Protocol == acl.TCP {
		reset(c) // nothing of a probe is to stay behind
		return answered
	}
	return ask(ctx, c)
}

// ask sends a datagram and waits for one.
func ask(ctx context.Context, c net.Conn) outcome {
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	if _, err := c.Write([]byte{0}); err != nil {
		return outcomeOf(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		return outcomeOf(err)
	}
	return answered
}

func outcomeOf(err error) outcome {
	is := func(errs ...error) bool {
		return slices.ContainsFunc(errs, func(e error) bool { return errors.Is(err, e) })
	}
	switch {
	case is(syscall.EPERM, syscall.EACCES):
		return denied
	case is(syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EHOSTUNREACH, syscall.ENETUNREACH):
		return refused
	}
	return silent
}
