package tunnel

import (
	"context"
	"testing"
	"time"

	"borealis/agent/wire"
)

// TestAgentsHearTheReasonOnRecord: an agent that comes with a tunnel, or with news of one, that has ended
// is told why by the record, also by an engine that was not there.
func TestAgentsHearTheReasonOnRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	h.offline()
	r.Close()
	next, err := Open(t.Context(), r.config)
	if err != nil {
		t.Fatal(err)
	}
	r.Manager = next
	t.Cleanup(next.Close)
	reason := func() Reason {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		h.mu.Lock()
		defer h.mu.Unlock()
		for limit := time.After(20 * time.Second); len(h.stops) == 0; {
			h.mu.Unlock()
			select {
			case <-tick.C:
			case <-limit:
				t.Error("nothing came")
			}
			h.mu.Lock()
			if t.Failed() {
				return ""
			}
		}
		stop := h.stops[len(h.stops)-1]
		h.stops = nil
		if stop.Tunnel != st.TunnelID {
			t.Errorf("the agent is told of %s, not of %s", stop.Tunnel, st.TunnelID)
		}
		return Reason(stop.Reason)
	}
	h.online(st.TunnelID)
	if got := reason(); got != EngineShutdown {
		t.Errorf("an agent that holds it is told %q", got)
	}
	said := wire.FromAgent{Stopped: &wire.Stopped{Tunnel: st.TunnelID, Reason: wire.ChannelLost}}
	if err := h.channel.Receive(t.Context(), said); err != nil {
		t.Fatal(err)
	}
	if got := reason(); got != EngineShutdown {
		t.Errorf("an agent that has ended it is told %q", got)
	}
	other := r.join(t)
	if err := other.channel.Receive(t.Context(), said); err != nil {
		t.Fatal(err)
	}
	if r := r.recorded(t.Context(), other.device.ID, st.TunnelID); r != "" {
		t.Errorf("another device hears %q", r)
	}
}

// TestAgentThatComesBackAtTheEnd: what an agent is told of the end of its tunnel may go to a connection that is
// dead already. When it comes back before all of that end is written down, it is told once more; else it would
// keep the tunnel, and be too busy for the next one, until its lease ends.
func TestAgentThatComesBackAtTheEnd(t *testing.T) {
	t.Parallel()
	var h *host
	var id string
	back := make(chan *Channel, 1)
	r := newRig(t, func(c *Config) {
		c.Observe.Step = func(s State, _ time.Duration) {
			if s != Ended {
				return
			}
			hello := h.hello()
			hello.Tunnel = id
			c, err := h.rig.Join(context.Background(), h.device, hello, "127.0.0.1", h.shown, h.ping)
			if err != nil {
				t.Error(err)
			}
			back <- c
		}
	})
	h = r.join(t)
	id = r.up(t, h, holder("nora")).TunnelID
	if _, err := r.Disconnect(t.Context(), h.device.ID, holder("nora"), false); err != nil {
		t.Fatal(err)
	}
	c := <-back
	defer c.Leave()
	for limit := time.After(20 * time.Second); ; {
		select {
		case msg := <-c.Outgoing():
			if msg.Stop == nil {
				continue
			}
			if msg.Stop.Tunnel != id || Reason(msg.Stop.Reason) != OperatorDisconnect {
				t.Errorf("the agent is told %+v", *msg.Stop)
			}
			return
		case <-limit:
			t.Fatal("the agent keeps a tunnel that has ended")
		}
	}
}

// TestKeyOfAnotherTunnel: an agent that answers with the WireGuard key of another's tunnel gets none, and
// the other one keeps its peer.
func TestKeyOfAnotherTunnel(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.join(t)
	up := r.up(t, first, holder("nora"))
	second := r.join(t, func(h *host) { h.mute = true })
	st, err := r.Connect(t.Context(), second.device.ID, holder("nora"), ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stolen, err := r.Status(t.Context(), first.device.ID)
	if err != nil {
		t.Fatal(err)
	}
	ready := wire.Ready{Tunnel: st.TunnelID, Token: st.Token, WireGuardKey: stolen.AgentPublicKey}
	if err := second.channel.Receive(t.Context(), wire.FromAgent{Ready: &ready}); err != nil {
		t.Fatal(err)
	}
	if got := r.ending(t, st.TunnelID); got != TokenRejected {
		t.Errorf("it ends as %q", got)
	}
	if s := r.session(up.TunnelID); s == nil || r.peers(t) != 1 || s.probe(t.Context(), stepTimeout) != nil {
		t.Error("the other tunnel does not work any more")
	}
}
