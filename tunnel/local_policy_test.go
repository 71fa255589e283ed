package tunnel

import (
	"strings"
	"testing"

	"borealis/agent/wire"
	"borealis/store"
)

// TestTheDevicesOwnPolicyEndsATunnel, before it is up and later. The trail has the device's words.
func TestTheDevicesOwnPolicyEndsATunnel(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t, func(h *host) { h.mute = true })
	st, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	refused := wire.Refused{Tunnel: st.TunnelID, Reason: wire.LocalPolicy, Detail: "the device's local policy allows no tunnel at this hour"}
	if err := h.channel.Receive(t.Context(), wire.FromAgent{Refused: &refused}); err != nil {
		t.Fatal(err)
	}
	if got := r.ending(t, st.TunnelID); got != LocalPolicy {
		t.Errorf("refused, it ends as %q, want %q", got, LocalPolicy)
	}
	lines, err := r.store.Records(t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, Kind: "tunnel_down"})
	if err != nil || len(lines) != 1 || lines[0].Reason != string(LocalPolicy) || !strings.Contains(lines[0].Detail, refused.Detail) {
		t.Errorf("records are %+v, %v", lines, err)
	}

	h = r.join(t)
	up := r.up(t, h, holder("nora"))
	stopped := wire.Stopped{Tunnel: up.TunnelID, Reason: wire.PolicyEnded}
	if err := h.channel.Receive(t.Context(), wire.FromAgent{Stopped: &stopped}); err != nil {
		t.Fatal(err)
	}
	if got := r.ending(t, up.TunnelID); got != LocalPolicy {
		t.Errorf("stopped, it ends as %q, want %q", got, LocalPolicy)
	}
	if n := r.peers(t); n != 0 {
		t.Errorf("%d peers are left", n)
	}
}
