package tunnel

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/store"
)

// TestManyOperatorsConnectAtOnce: a hundred callers make one tunnel, and everybody is attached.
func TestManyOperatorsConnectAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	var (
		work sync.WaitGroup
		mu   sync.Mutex
		ids  = make(map[string]int)
	)
	begin := make(chan struct{})
	for i := range 100 {
		work.Go(func() {
			<-begin
			st, err := r.Connect(t.Context(), h.device.ID, holder(fmt.Sprint("operator ", i)), ConnectOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids[st.TunnelID]++
		})
	}
	close(begin)
	work.Wait()
	if len(ids) != 1 {
		t.Fatalf("%d tunnels, want one", len(ids))
	}
	st := r.up(t, h, holder("operator 0"))
	if len(st.Operators) != 100 || r.peers(t) != 1 {
		t.Errorf("%d attached, %d peers", len(st.Operators), r.peers(t))
	}
	count := make(map[string]int)
	for _, l := range r.records(t, store.RecordQuery{TunnelID: st.TunnelID}) {
		count[l.Kind]++
	}
	if count["tunnel_requested"] != 1 || count["operator_joined"] != 99 {
		t.Errorf("on record: %v", count)
	}
}

// TestEndsAtOnceAreOneEnd: the last one leaves while the idle time is over and the engine stops.
// The tunnel ends once, for one of these reasons, and it is the same wherever it is read.
func TestEndsAtOnceAreOneEnd(t *testing.T) {
	t.Parallel()
	for range 5 {
		t.Run("race", func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			h := r.join(t)
			id := r.up(t, h, holder("nora")).TunnelID
			s := r.session(id)
			begin := make(chan struct{})
			var work sync.WaitGroup
			for _, end := range []func(){
				func() { _, _ = r.Disconnect(t.Context(), id, holder("nora"), false) },
				s.idle.fire,
				r.Close,
			} {
				work.Go(func() { <-begin; end() })
			}
			close(begin)
			work.Wait()
			<-s.ended
			row, err := r.store.Tunnel(t.Context(), id)
			if err != nil || row.State != string(Ended) || !slices.Contains([]Reason{OperatorDisconnect, IdleTimeout, EngineShutdown}, Reason(row.Reason)) {
				t.Fatalf("%+v, %v", row, err)
			}
			all, err := r.store.Records(t.Context(), store.RecordQuery{TunnelID: id, Kind: "tunnel_down", Scope: store.Scope{All: true}, Limit: store.MaxPage})
			if err != nil || len(all) != 1 || all[0].Reason != row.Reason || r.statusOf(s).Reason != Reason(row.Reason) {
				t.Errorf("ended as %s, on record %+v, %v", row.Reason, all, err)
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(h.stops) > 1 || len(h.stops) == 1 && !strings.EqualFold(h.stops[0].Reason, row.Reason) {
				t.Errorf("the agent was told %+v", h.stops)
			}
		})
	}
}

// TestNothingHoldsUpAnEnd: a change of the ports that never ends delays neither the end of a tunnel
// nor the failure of one that is being made by more than its time.
func TestNothingHoldsUpAnEnd(t *testing.T) {
	t.Parallel()
	var hurry atomic.Bool
	r := newRig(t, func(c *Config) {
		c.after = func(tunnel string, long time.Duration, call func()) func() bool {
			if hurry.Load() && (long == endTimeout || long == turnTimeout) {
				long = 0
			}
			return afterTime(tunnel, long, call)
		}
	})
	h, second := r.join(t), r.join(t, func(h *host) { h.mute = true })
	id := r.up(t, h, holder("nora")).TunnelID
	st, err := r.Connect(t.Context(), second.device.ID, holder("nora"), ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hurry.Store(true)
	for _, one := range []*host{h, second} {
		release, err := r.takePorts(t.Context(), one.device.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
	}
	if ended, err := r.Disconnect(t.Context(), id, holder("nora"), false); err != nil || ended.State != Ended || ended.Reason != OperatorDisconnect {
		t.Errorf("%+v, %v", ended, err)
	}
	second.start(second.channel, wire.Start{Tunnel: st.TunnelID, Token: st.Token, PresharedKey: r.session(st.TunnelID).psk.String()})
	r.until(t, func() bool { return r.ending(t, st.TunnelID) == InternalError }) // it did not wait for that
	if n := r.peers(t); n != 0 {
		t.Errorf("%d peers", n)
	}
}
