package tunnel

import (
	"slices"
	"strings"
	"testing"

	"borealis/agent/wire"
	"borealis/store"
)

// TestWelcomeTellsOfFurtherAddresses those agents that know what they are.
func TestWelcomeTellsOfFurtherAddresses(t *testing.T) {
	t.Parallel()
	further := []string{"second.example:8443", "192.0.2.9:443"}
	r := newRig(t, func(c *Config) { c.Addresses = further })
	for protocol, want := range map[int][]string{0: nil, 2: nil, 3: further, wire.Protocol + 1: further} {
		d, _ := r.device(t, "pc")
		c, err := r.Join(t.Context(), d, wire.Hello{Nonce: testNonce, Protocol: protocol}, "127.0.0.1", r.keys.Identity, nil)
		if err != nil {
			t.Fatal(err)
		}
		msg := <-c.Outgoing()
		c.Leave()
		if msg.Welcome == nil || !slices.Equal(msg.Welcome.Addresses, want) || (msg.Welcome.Protocol != 0) != (want != nil) {
			t.Errorf("protocol %d is welcomed by %+v, want %v", protocol, msg.Welcome, want)
		}
	}
}

// TestAnAgentSaysWhyItsTunnelEnded, and its words are on record and in the timeline.
func TestAnAgentSaysWhyItsTunnelEnded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	up := r.up(t, h, holder("nora"))
	stopped := wire.Stopped{Tunnel: up.TunnelID, Reason: wire.PolicyEnded, Detail: "somebody at the device stopped all tunnels (panic stop)"}
	if err := h.channel.Receive(t.Context(), wire.FromAgent{Stopped: &stopped}); err != nil {
		t.Fatal(err)
	}
	if got := r.ending(t, up.TunnelID); got != LocalPolicy {
		t.Errorf("it ends as %q, want %q", got, LocalPolicy)
	}
	lines, err := r.store.Records(t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, Kind: "tunnel_down"})
	if err != nil || len(lines) != 1 || lines[0].Reason != string(LocalPolicy) || lines[0].Detail != stopped.Detail {
		t.Errorf("records are %+v, %v", lines, err)
	}
	st, err := r.Status(t.Context(), h.device.ID)
	if err != nil || !slices.ContainsFunc(st.Timeline, func(s store.Step) bool { return strings.Contains(s.Detail, "panic stop") }) {
		t.Errorf("the timeline is %+v, %v", st.Timeline, err)
	}
}
