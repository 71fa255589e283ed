//go:build linux

package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"borealis/tunnel/wg/nstest"
)

const panicSentence = "somebody at the device stopped all tunnels (panic stop)"

// TestPanicStopOfADevice ends a tunnel and its shell at once, and no other comes up until it is
// released: not after a restart of the agent either.
func TestPanicStopOfADevice(t *testing.T) {
	t.Parallel()
	if !nstest.Run(t) {
		return
	}
	nstest.TUN(t)
	f := newFleet(t)
	m := f.agents[0]
	l := f.goLive(t, m)
	l.term.typed(t.Context(), nap+" &\r")
	l.says(t)
	if sleepers(t) != 1 {
		t.Fatal("the shell has not started what should be ended")
	}

	began := time.Now()
	if out := f.agentSays(t, m, "panic"); !strings.Contains(out, "All tunnels are stopped") {
		t.Errorf("the agent says %s", out)
	}
	t.Logf("the tunnel is gone %v after the command began", time.Since(began).Round(time.Millisecond))
	if n := sleepers(t); n != 0 {
		t.Errorf("%d processes of the shell are left", n)
	}
	c := l.term.client
	c.until(t.Context(), "the end", func(st tunnelState) bool { return st.State == "ended" })
	f.ended(t, m, l.st.TunnelID)
	if peers := f.here("wg", "show", "borealis0", "peers"); peers != "" {
		t.Errorf("the engine keeps the peers %s", peers)
	}
	if log := m.log(t); !strings.Contains(log, "msg=tunnel_down tunnel="+l.st.TunnelID+" reason=local_policy") || !strings.Contains(log, panicSentence) {
		t.Errorf("the agent's log is\n%s", log)
	}

	limits := func() string { // What the engine knows of the device's own policy.
		var detail struct{ Inventory struct{ Limits []string } }
		f.client.do(t.Context(), http.MethodGet, "/api/devices/"+m.device, nil, &detail)
		return strings.ToLower(strings.Join(detail.Inventory.Limits, " "))
	}
	f.eventually("the engine to know of the panic stop", func() bool { return strings.Contains(limits(), panicSentence) })

	refused := func() {
		t.Helper()
		c.connect(t.Context())
		st := c.until(t.Context(), "the refusal", func(st tunnelState) bool { return st.State == "ended" && st.TunnelID != l.st.TunnelID })
		f.ended(t, m, st.TunnelID)
		l.st.TunnelID = st.TunnelID
	}
	refused()
	if err := m.process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-m.process.Done()
	f.startAgent(m)
	refused()
	if out := f.agentSays(t, m, "status"); !strings.Contains(strings.ToLower(out), panicSentence) {
		t.Errorf("the status is\n%s", out)
	}
	if p := f.doctorOf(t, m)["panic"]; p.OK || !strings.Contains(p.Detail, panicSentence) {
		t.Errorf("the doctor finds %+v", p)
	}
	f.agentSays(t, m, "panic", "--release")
	f.eventually("the engine to know of the release", func() bool { return limits() == "" })
	f.killedInATunnel(t, m)
}

// killedInATunnel kills the agent in the middle of a shell: that dies with it, and the agent that
// is started after it has no tunnel until somebody asks for one.
func (f *fleet) killedInATunnel(t *testing.T, m *machine) {
	l := f.goLive(t, m)
	l.term.typed(t.Context(), nap+"\r")
	f.eventually("the shell to do something", func() bool { return sleepers(t) == 1 })
	if err := m.process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-m.process.Done()
	st := l.term.client.until(t.Context(), "the end", func(st tunnelState) bool { return st.State == "ended" })
	if st.Reason != "agent_lost" {
		t.Errorf("the tunnel is %+v", st)
	}
	f.eventually("the shell to be dead", func() bool { return sleepers(t) == 0 })
	f.startAgent(m)
	if st := l.term.client.status(t.Context()); st.State != "ended" || st.TunnelID != l.st.TunnelID {
		t.Errorf("after the start the tunnel is %+v", st)
	}
	f.goLive(t, m)
	f.disconnect(t, m)
}

// ended looks for the words of the device about the end of its last tunnel.
func (f *fleet) ended(t *testing.T, m *machine, id string) {
	t.Helper()
	f.client.device = m.device
	st := f.client.status(t.Context())
	if st.Reason != "local_policy" || st.TunnelID != id {
		t.Errorf("the tunnel %s ended as %+v", id, st)
	}
	f.eventually("the device's words on record", func() bool {
		return strings.Contains(f.newestRecord(t.Context(), m, "tunnel_down"), panicSentence)
	})
}
