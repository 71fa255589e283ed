package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/acl"
	"borealis/acl/netfilter"
	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/wg"
)

func sprint(v any) string { return fmt.Sprint(v) }

// echoUDP answers datagrams on a port of this machine.
func echoUDP(t *testing.T) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		b := make([]byte, 16)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(b[:n], from)
		}
	})
	t.Cleanup(func() { c.Close(); work.Wait() })
	return uint16(c.LocalAddr().(*net.UDPAddr).Port)
}

// nobody is a port of this machine that nobody listens on.
func nobody(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// results are the results of a proof's open ports, by port.
func results(p Proof) map[string]Result {
	all := make(map[string]Result)
	for _, o := range p.Open {
		all[o.Port.String()] = o.Result
	}
	return all
}

func TestProof(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	answers, answersUDP, empty := echo(t), echoUDP(t), nobody(t)
	h := r.join(t)
	r.up(t, h, holder("nora"))
	for _, off := range []string{"vnc", "webrtc", "ssh"} { // what this machine has there is not known
		r.setPorts(t, h.device.ID, service(off, false))
	}
	before, err := r.Status(t.Context(), h.device.ID)
	if err != nil {
		t.Fatal(err)
	}
	r.setPorts(
		t, h.device.ID, service("vnc", false), service("webrtc", false), service("ssh", false),
		custom(acl.TCP, answers, answers, true), custom(acl.TCP, empty, empty, true), custom(acl.UDP, answersUDP, answersUDP, true),
	)
	p, err := r.Prove(t.Context(), h.device.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Result{
		"47002/tcp":                    Answers,
		fmt.Sprint(answers, "/tcp"):    Answers,
		fmt.Sprint(empty, "/tcp"):      NoListener,
		fmt.Sprint(answersUDP, "/udp"): Answers,
	}
	if diff := cmp.Diff(want, results(p)); diff != "" {
		t.Errorf("open ports (-want +got):\n%s", diff)
	}
	for _, c := range p.Closed {
		if c.Result != Refused {
			t.Errorf("%s: %s", c.Port, c.Result)
		}
	}
	if !p.OK() || len(p.Closed) != sampleSize || p.By != "dialer" || !p.Confirmed || p.Revision != 4 || p.Answering() != 3 || p.Refused != 0 {
		t.Errorf("proof %+v", p)
	}
	if p.Took <= 0 || time.Since(p.At) > time.Minute {
		t.Errorf("took %v, at %v", p.Took, p.At)
	}
	after, err := r.Status(t.Context(), h.device.ID)
	if err != nil || after.IdleRemaining >= before.IdleRemaining {
		t.Errorf("a proof counted as activity: %v left, and %v before; %v", after.IdleRemaining, before.IdleRemaining, err)
	}
	have, err := r.Ports(t.Context(), h.device.ID)
	if err != nil || have.Proof.Revision != 4 || len(have.Flows) != 0 {
		t.Errorf("after the proof: %+v, %v", have, err)
	}
}

// TestProofIsShared asks for many before one can begin, and for a fresh one.
func TestProofIsShared(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	after := r.prove(t, h) // the one that is made anyway
	release, err := take(t.Context(), r.turnOf(h.device.ID))
	if err != nil {
		t.Fatal(err)
	}
	proofs := r.session(st.TunnelID).proofs
	first := proofs.request(false)
	for _, fresh := range []bool{false, true, false} {
		if proofs.request(fresh) != first {
			t.Error("a second run was begun")
		}
	}
	if have, err := r.Ports(t.Context(), h.device.ID); err != nil || !have.Proving || !have.Proof.At.Equal(after.At) {
		t.Errorf("%+v, %v", have, err)
	}
	release()
	<-first.done
	if have, err := r.Ports(t.Context(), h.device.ID); err != nil || have.Proving || !have.Proof.At.Equal(first.proof.At) {
		t.Errorf("%+v, %v", have, err)
	}
	if _, err := r.Disconnect(t.Context(), h.device.ID, holder("nora"), true); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{h.device.ID, "no-such-device"} {
		if _, err := r.Prove(t.Context(), id); !errors.Is(err, ErrNotUp) {
			t.Errorf("without a tunnel: %v", err)
		}
	}
}

// TestProofSaysThatTheAgentDidNotConfirm closes a port that the device was told of in
// its token, and opens one that it never says to enforce.
func TestProofSaysThatTheAgentDidNotConfirm(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t, func(h *host) { h.quiet = true })
	st := r.up(t, h, holder("nora"))
	port := nobody(t)
	if got := r.setPorts(t, h.device.ID, custom(acl.TCP, port, port, true)); got.Confirmed {
		t.Error("the agent confirmed")
	}
	for _, revision := range []int64{0, 2, 1 << 60} { // it was sent 1
		err := h.channel.Receive(t.Context(), wire.FromAgent{Applied: &wire.Applied{Tunnel: st.TunnelID, Revision: revision}})
		if have, failed := r.Ports(t.Context(), h.device.ID); err != nil || failed != nil || have.Confirmed {
			t.Errorf("revision %d confirmed: %v, %v", revision, err, failed)
		}
	}
	p, err := r.Prove(t.Context(), h.device.ID)
	if err != nil || p.Confirmed || results(p)[fmt.Sprint(port, "/tcp")] != RefusedByDevice {
		t.Errorf("proof %+v, %v", p, err)
	}
}

// TestClosedPortThatAnswers is about a device that answers where nothing should.
func TestClosedPortThatAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t, func(h *host) { h.answering = 445 })
	st := r.up(t, h, holder("nora"))
	if got := r.ending(t, st.TunnelID); got != FirewallLost {
		t.Errorf("ended as %s", got)
	}
	if n := r.peers(t); n != 0 {
		t.Errorf("%d peers", n)
	}
	wantActivity(t, r, h.device.ID, "device_enrolled", "agent_online", "tunnel_requested", "tunnel_up", "ports_mismatch", "tunnel_down")
	lines, err := r.store.Records(t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, DeviceID: h.device.ID, Limit: 2})
	if err != nil || !strings.Contains(lines[1].Detail, "445/tcp is closed, and it answers") || lines[0].Reason != "firewall_lost" || !strings.Contains(lines[0].Detail, "445/tcp") {
		t.Errorf("activity %+v, %v", lines, err)
	}
}

// TestProofWithoutTheGuard has an engine whose own dialer would let everything through.
func TestProofWithoutTheGuard(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	open := acl.Plan{st.VirtualIP: {{Protocol: acl.TCP, From: 1, To: 65535}}}
	if err := r.guard.Set(t.Context(), open); err != nil {
		t.Fatal(err)
	}
	p, err := r.Prove(t.Context(), h.device.ID)
	for err == nil && p.OK() { // the one after up may have been on its way
		p, err = r.Prove(t.Context(), h.device.ID)
	}
	if err != nil || !strings.Contains(p.Alarms[0], "the engine would connect to it") {
		t.Errorf("proof %+v, %v", p, err)
	}
}

func TestSample(t *testing.T) {
	t.Parallel()
	for name, open := range map[string][]acl.Port{
		"defaults": acl.Defaults("windows"),
		"nothing":  nil,
		"edges":    {{Protocol: acl.TCP, From: 1, To: 10}, {Protocol: acl.TCP, From: 65000, To: 65535}, {Protocol: acl.UDP, From: 5000, To: 5010}},
		"many":     manyOpen(64),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			probes := closedProbes(open)
			if len(probes) != sampleSize {
				t.Errorf("%d probes", len(probes))
			}
			seen := make(map[acl.Port]bool)
			udp := 0
			for _, p := range probes {
				if p.port.From == 0 || p.port.From != p.port.To || seen[p.port] || acl.Contains(open, p.port.Protocol, p.port.From) {
					t.Errorf("probe of %s", p.port)
				}
				seen[p.port] = true
				if p.port.Protocol == acl.UDP {
					udp++
				}
			}
			if udp == 0 || udp > sampleSize/2 && name != "many" {
				t.Errorf("%d probes of UDP", udp)
			}
			if name == "edges" && (!seen[single(acl.TCP, 11)] || !seen[single(acl.TCP, 64999)] || !seen[single(acl.UDP, 4999)] || !seen[single(acl.UDP, 5011)]) {
				t.Errorf("neighbours are missing in %v", probes)
			}
		})
	}
	if all := closedProbes([]acl.Port{{Protocol: acl.TCP, From: 1, To: 65535}, {Protocol: acl.UDP, From: 1, To: 65535}}); len(all) != 0 {
		t.Errorf("with all open: %v", all)
	}
}

func TestRangesAreProbedAtTheirEnds(t *testing.T) {
	t.Parallel()
	media, web := acl.Port{Protocol: acl.UDP, From: 5000, To: 5010}, single(acl.TCP, 80)
	want := []string{"5000/udp of 5000-5010/udp", "5010/udp of 5000-5010/udp", "80/tcp of 80/tcp"}
	var got []string
	for _, p := range openProbes([]acl.Port{media, web}) {
		got = append(got, p.port.String()+" of "+p.rule.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func manyOpen(n int) (all []acl.Port) {
	for i := range n {
		all = append(all, acl.Port{Protocol: acl.UDP, From: uint16(10000 + 10*i), To: uint16(10005 + 10*i)})
	}
	return all
}

// TestJudgement is what probes and counters mean.
func TestJudgement(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	s := r.session(st.TunnelID)
	ssh := acl.Services()[6].Ports[0]
	accepted := func(n uint64) *count {
		return &count{after: netfilter.Counters{Accepted: map[acl.Port]uint64{{Protocol: acl.TCP, From: 22, To: 22}: n}}}
	}
	for name, c := range map[string]struct {
		outcome   outcome
		confirmed bool
		counted   *count
		want      Result
	}{
		"answers":             {answered, true, accepted(2), Answers},
		"nobody listens":      {refused, true, accepted(1), NoListener},
		"not confirmed":       {refused, false, accepted(1), RefusedByDevice},
		"not let through":     {refused, true, accepted(0), Blocked},
		"dropped on the way":  {silent, true, accepted(0), Blocked},
		"denied by the host":  {denied, true, nil, Blocked},
		"silent":              {silent, true, accepted(1), Silent},
		"silent, no counters": {silent, true, nil, Silent},
		"no time":             {notTried, true, accepted(0), Silent},
	} {
		trial := trial{session: s, open: []acl.Port{ssh}, confirmed: c.confirmed}
		var p Proof
		trial.judgeOpen(&p, []probing{{port: single(acl.TCP, 22), rule: ssh, outcome: c.outcome}}, c.counted)
		if got := p.Open[0].Result; got != c.want || (got == Blocked) == p.OK() {
			t.Errorf("%s: %s with alarms %v, want %s", name, got, p.Alarms, c.want)
		}
	}
	closed := func(outcomes ...outcome) (all []probing) {
		for i, o := range outcomes {
			all = append(all, probing{port: single(acl.TCP, uint16(4000+i)), outcome: o})
		}
		return all
	}
	for name, c := range map[string]struct {
		probes  []probing
		counted *count
		refused uint64
		alarms  int
	}{
		"all refused and counted":  {closed(refused, denied, silent), &count{}, 3, 0},
		"not counted":              {closed(refused, refused), &count{}, 1, 1},
		"one answers":              {closed(answered, refused), nil, 0, 1},
		"one answers, not counted": {closed(answered, refused), &count{}, 1, 2},
		"no time":                  {closed(notTried, refused), &count{}, 1, 0},
	} {
		p := Proof{Refused: c.refused}
		trial := trial{session: s}
		trial.judgeClosed(&p, c.probes, c.counted)
		if len(p.Alarms) != c.alarms || p.reached() != (c.probes[0].outcome == answered) {
			t.Errorf("%s: %v", name, p.Alarms)
		}
	}
	if got := grown(7, 3); got != 3 {
		t.Errorf("a counter that began again grew by %d", got)
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]outcome{
		syscall.EPERM: denied, syscall.EACCES: denied, syscall.ECONNREFUSED: refused, syscall.EHOSTUNREACH: refused,
		context.DeadlineExceeded: silent, syscall.EDESTADDRREQ: silent,
	} {
		if got := outcomeOf(&net.OpError{Op: "dial", Err: err}); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

// TestFlowsWithoutProbes leaves out as many flows to a port as are probes.
func TestFlowsWithoutProbes(t *testing.T) {
	t.Parallel()
	p := newProofs()
	ssh, dns := wg.Flow{Protocol: acl.TCP, Port: 22}, wg.Flow{Protocol: acl.UDP, Port: 53}
	over := p.probe(ssh)
	defer p.probe(dns)()
	all := []wg.Flow{ssh, dns, ssh}
	if diff := cmp.Diff([]wg.Flow{ssh}, p.without(slices.Clone(all))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	over()
	if diff := cmp.Diff([]wg.Flow{ssh, ssh}, p.without(slices.Clone(all))); diff != "" {
		t.Errorf("when a probe is over (-want +got):\n%s", diff)
	}
}
