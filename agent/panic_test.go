//go:build linux

package agent_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"borealis/agent"
	"borealis/agent/limits"
	"borealis/agent/wire"
)

// TestPanicStop ends a tunnel with all that runs in it, allows none until it is released, also
// after a restart, and tells the engine why as far as that understands it.
func TestPanicStop(t *testing.T) {
	t.Parallel()
	for protocol, detail := range map[int]string{2: "", wire.Protocol: limits.ErrStopped.Error()} {
		e := newEngine(t)
		e.welcome = func(w *wire.Welcome) {
			if protocol >= 3 {
				w.Protocol = protocol
			}
		}
		d := newDevice(t, e)
		c := e.channel(t)
		o := c.offer(t, "tunnel-1")
		c.up(t, o)
		pids, client := stubborn(t, c, o)
		defer client.Close()
		local := limits.Load(agent.PolicyFile(d.data))
		if err := local.Stop(); err != nil {
			t.Fatal(err)
		}
		want := wire.FromAgent{Stopped: &wire.Stopped{Tunnel: "tunnel-1", Reason: wire.PolicyEnded, Detail: detail}}
		if diff := cmp.Diff(want, c.next(t)); diff != "" {
			t.Errorf("message (-want +got):\n%s", diff)
		}
		for _, pid := range pids {
			if alive(pid) {
				t.Errorf("process %d lives on", pid)
			}
		}
		d.log.expect(t, "msg=policy_ended", "tunnel=tunnel-1", limits.ErrStopped.Error())
		d.log.expect(t, "msg=tunnel_down", "tunnel=tunnel-1", "reason=local_policy")
		if err := d.stop(); err != nil {
			t.Fatal(err)
		}
		d.run(t)
		c = e.channel(t)
		o = c.offer(t, "tunnel-2")
		c.send(t, wire.FromEngine{Start: &o.start})
		if m := c.next(t); m.Refused == nil || m.Refused.Reason != wire.LocalPolicy || m.Refused.Detail != limits.ErrStopped.Error() {
			t.Errorf("a start is answered by %+v", m)
		}
		if s := strings.Join(local.Sentences(), " "); !strings.Contains(s, "panic stop") {
			t.Errorf("the engine is told %q", s)
		}
		if err := local.Release(); err != nil {
			t.Fatal(err)
		}
		c.up(t, o)
		if err := d.stop(); err != nil {
			t.Fatal(err)
		}
	}
}
