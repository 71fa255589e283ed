//go:build linux

package agent_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"borealis/agent"
	"borealis/agent/wire"
)

// TestShutdownThatNobodyHears: an agent that is stopped while the engine is out of reach says in its
// log what the engine will find, and the next one asks what it has on record.
func TestShutdownThatNobodyHears(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		lose     func(*testing.T, *engine, *way, *device) // The way to the engine.
		recorded string
		follows  string // In the log of the next agent; "" when it has been said.
	}{
		{name: "while it dials", recorded: "agent_lost", lose: func(t *testing.T, e *engine, _ *way, d *device) {
			e.stop()
			d.log.expect(t, "msg=agent_disconnected", "err=")
		}},
		{name: "before it notices", recorded: "agent_lost", lose: func(_ *testing.T, _ *engine, w *way, _ *device) { w.die(true) }},
		{
			name: "and the engine knew more", recorded: "operator_disconnect", follows: "operator_disconnect",
			lose: func(_ *testing.T, _ *engine, w *way, _ *device) { w.die(true) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t)
			w := newWay(t, e.address)
			d := &device{data: t.TempDir(), log: newJournal()}
			code := wire.Code{Address: w.address(), Pin: e.keys.Identity.Pin(), Secret: wire.NewSecret()}
			if _, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: d.data, Code: code.String()}); err != nil {
				t.Fatal(err)
			}
			d.run(t)
			first := e.channel(t)
			first.up(t, first.offer(t, "tunnel-1"))
			c.lose(t, e, w, d)
			if err := d.stop(); err != nil {
				t.Fatal(err)
			}
			down := d.log.expect(t, "msg=tunnel_down", "tunnel=tunnel-1")
			if !strings.Contains(down, "reason=agent_lost") || !strings.Contains(down, "out of reach") {
				t.Errorf("the log has %s", down)
			}

			e.stop()
			e.record = func(wire.Stopped) string { return c.recorded }
			e.serve(t, e.address)
			w.die(false)
			d.run(t)
			again := e.channel(t)
			want := wire.FromAgent{Stopped: &wire.Stopped{Tunnel: "tunnel-1", Reason: wire.ChannelLost}}
			if diff := cmp.Diff(want, again.next(t)); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			d.written(t, "settled", func(s agent.Status, _ bool) bool { return s.Connected && s.Ended == nil })
			if err := d.stop(); err != nil {
				t.Fatal(err)
			}
			log := d.log.String()
			if n := strings.Count(log, "msg=tunnel_down"); n != 1 {
				t.Errorf("the end is told %d times:\n%s", n, log)
			}
			if got := strings.Contains(log, "msg=tunnel_recorded tunnel=tunnel-1 reason="+c.recorded); got != (c.follows != "") {
				t.Errorf("the record follows: %v; the log is\n%s", got, log)
			}
		})
	}
}

// TestShutdownThatTheEngineSettles: whatever the engine heard, what it has on record is in the log of
// the agent that is stopped, or in that of the next one.
func TestShutdownThatTheEngineSettles(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.record = func(wire.Stopped) string { return "" } // It has no time for an answer.
	d := newDevice(t, e)
	c := e.channel(t)
	c.up(t, c.offer(t, "tunnel-1"))
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d.log.expect(t, "msg=tunnel_down", "tunnel=tunnel-1", "reason=agent_shutdown")
	if s := d.Status(); s.Ended == nil || *s.Ended != (wire.Stopped{Tunnel: "tunnel-1", Reason: wire.AgentShutdown}) {
		t.Errorf("it leaves %+v", s.Ended)
	}
	e.stop()
	e.record = func(wire.Stopped) string { return "idle_timeout" } // It had begun to end it.
	e.serve(t, e.address)
	d.run(t)
	c = e.channel(t)
	if m := c.next(t); m.Stopped == nil || m.Stopped.Tunnel != "tunnel-1" {
		t.Errorf("the next agent says %+v", m)
	}
	d.log.expect(t, "msg=tunnel_recorded", "tunnel=tunnel-1", "reason=idle_timeout")
}
