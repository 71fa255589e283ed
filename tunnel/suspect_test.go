package tunnel

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"borealis/tunnel/wg"
)

// TestBlockedUDPIsToldEarly: people are told what it may mean when no handshake comes, long before
// the attempt is given up, and that it is over when one comes after all.
func TestBlockedUDPIsToldEarly(t *testing.T) {
	t.Parallel()
	early := make(chan func(), 1)
	r := newRig(t, func(c *Config) {
		c.after = func(tunnel string, long time.Duration, call func()) func() bool {
			if long == unheard {
				early <- call
			}
			return afterTime(tunnel, long, call)
		}
	})
	h := r.join(t, func(h *host) { h.deaf = true })
	if _, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{}); err != nil {
		t.Fatal(err)
	}
	overdue := <-early // the wait has begun
	events, stop := r.Watch()
	defer stop()
	status := func() Status {
		t.Helper()
		st, err := r.Status(t.Context(), h.device.ID)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	if st := status(); st.State != Peered || st.Detail != "" {
		t.Errorf("before: %s, %q", st.State, st.Detail)
	}
	overdue()
	want := fmt.Sprintf("no WireGuard handshake for 5 s: UDP port %d seems to be blocked between the device and this engine", r.Link().Port)
	if st := status(); st.State != Peered || st.Detail != want || st.Timeline[len(st.Timeline)-1].Detail != want {
		t.Errorf("after a while: %s, %q", st.State, st.Detail)
	}
	if got := <-events; got != h.device.ID {
		t.Errorf("told of %q", got)
	}
	h.admit()
	r.until(t, func() bool { return status().Up() })
	for _, step := range status().Timeline {
		if step.Detail != "" {
			t.Errorf("%s still says %q", step.Name, step.Detail)
		}
	}
	overdue() // too late
	if st := status(); st.Detail != "" {
		t.Errorf("up, and says %q", st.Detail)
	}
}

// TestHandshakeThatNeverComes gives up, and the timeline says what was seen.
func TestHandshakeThatNeverComes(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) {
		var giveUp func() // on the step that has begun last
		c.after = func(_ string, long time.Duration, call func()) func() bool {
			switch long {
			case stepTimeout:
				giveUp = call
			case unheard: // follows at once
				call()
				giveUp()
			}
			return func() bool { return true }
		}
	})
	h := r.join(t, func(h *host) { h.deaf = true })
	st, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.ending(t, st.TunnelID); got != HandshakeTimeout {
		t.Errorf("ended as %s", got)
	}
	row, err := r.store.Tunnel(t.Context(), st.TunnelID)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range row.Steps {
		if step.Name == string(Peered) && strings.Contains(step.Detail, "seems to be blocked") {
			return
		}
	}
	t.Errorf("steps %+v", row.Steps)
}

// TestPeerTakenAwayIsNotAHandshakeThatNeverCame: who takes the peers away says why, and a peer that
// is put back is waited for.
func TestPeerTakenAwayIsNotAHandshakeThatNeverCame(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		then func(r *rig, h *host, s *session)
		up   bool
		want Reason
	}{
		"firewall lost": {then: func(_ *rig, _ *host, s *session) { s.fail(FirewallLost, "flushed") }, want: FirewallLost},
		"put back": {then: func(r *rig, h *host, s *session) {
			if err := s.link.AddPeer(wg.Peer{PublicKey: s.agentKey, PresharedKey: s.psk, AllowedIP: s.vip}); err != nil {
				t.Error(err)
			}
			h.admit()
		}, up: true, want: OperatorDisconnect},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			h := r.join(t, func(h *host) { h.deaf = true })
			st, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			s := r.session(st.TunnelID)
			r.until(t, func() bool { st, err := r.Status(t.Context(), h.device.ID); return err != nil || st.State == Peered })
			if err := s.link.SetPeers(nil); err != nil {
				t.Fatal(err)
			}
			select { // several looks at the peer
			case <-s.ended:
				t.Fatalf("ended as %s", r.ending(t, st.TunnelID))
			case <-time.After(5 * lookAgain):
			}
			c.then(r, h, s)
			if c.up {
				r.until(t, func() bool { st, err := r.Status(t.Context(), h.device.ID); return err != nil || st.Up() })
				if _, err := r.Disconnect(t.Context(), st.TunnelID, holder("nora"), false); err != nil {
					t.Fatal(err)
				}
			}
			if got := r.ending(t, st.TunnelID); got != c.want {
				t.Errorf("ended as %s, want %s", got, c.want)
			}
		})
	}
}
