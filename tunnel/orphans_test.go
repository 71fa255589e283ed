package tunnel

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"borealis/store"
)

// observed is a rig that counts repairs and keeps what it logs.
func observed(t *testing.T) (r *rig, repaired func() []string, logs *lockedBuffer) {
	t.Helper()
	var (
		mu  sync.Mutex
		all []string
	)
	logs = new(lockedBuffer)
	r = newRig(t, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(logs, nil))
		c.Observe.Repaired = func(what string) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, what)
		}
	})
	return r, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}, logs
}

// another opens the database of a rig a second time, as another process would.
func (r *rig) another(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), r.dir+"/borealis.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestRowsWithoutATunnelAreEnded(t *testing.T) {
	t.Parallel()
	r, repaired, logs := observed(t)
	old, _ := r.device(t, "old")
	young, _ := r.device(t, "young")
	live := r.up(t, r.join(t), holder("nora"))
	elsewhere, now := r.another(t), time.Now()
	for id, v := range map[string]store.Tunnel{
		"old":   {DeviceID: old.ID, RequestedAt: now.Add(-orphanAge)},
		"young": {DeviceID: young.ID, RequestedAt: now.Add(-orphanAge + time.Second)},
	} {
		v.ID, v.TokenID, v.State, v.Operator = id, id, string(Up), "nora"
		if err := elsewhere.AddTunnel(t.Context(), v, now.Add(time.Hour), store.Record{}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time changes nothing
		r.compareSessions(t.Context(), now)
	}
	row, err := elsewhere.Tunnel(t.Context(), "old")
	if err != nil || row.Reason != string(InternalError) || !row.EndedAt.Equal(now) || row.Steps[len(row.Steps)-1].Name != string(Ended) {
		t.Errorf("the old one: %+v, %v", row, err)
	}
	if err := elsewhere.RedeemToken(t.Context(), "old", now); !errors.Is(err, store.ErrTokenUsed) {
		t.Errorf("its token: %v", err)
	}
	if row, err = elsewhere.Tunnel(t.Context(), "young"); err != nil || row.State != string(Up) {
		t.Errorf("the young one: %+v, %v", row, err)
	}
	if st, err := r.Status(t.Context(), live.DeviceID); err != nil || !st.Up() {
		t.Errorf("the live one: %+v, %v", st, err)
	}
	if got := r.lines(t, "old"); !slices.Equal(got, []string{"tunnel_requested nora", "tunnel_down  internal_error", "session_repaired"}) {
		t.Errorf("on record: %q", got)
	}
	if got := repaired(); !slices.Equal(got, []string{"session"}) || strings.Count(logs.String(), "msg=session_repaired tunnel=old") != 1 {
		t.Errorf("repaired: %q\n%s", got, logs)
	}
}

// TestTunnelsAreComparedByThemselves: nobody has to ask for it.
func TestTunnelsAreComparedByThemselves(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.compare = time.Millisecond })
	d, _ := r.device(t, "PC")
	id := r.up(t, r.join(t), holder("nora")).TunnelID
	elsewhere, now := r.another(t), time.Now()
	row := store.Tunnel{ID: "orphan", DeviceID: d.ID, TokenID: "orphan", State: string(Offered), RequestedAt: now.Add(-time.Minute)}
	if err := elsewhere.AddTunnel(t.Context(), row, now.Add(time.Hour), store.Record{}); err != nil {
		t.Fatal(err)
	}
	ended := func(id string) bool {
		row, err := r.store.Tunnel(t.Context(), id)
		return err != nil || row.State == string(Ended)
	}
	r.until(t, func() bool { return ended("orphan") })
	if ended(id) {
		t.Error("the live one was ended too")
	}
	if _, err := elsewhere.EndTunnel(t.Context(), id, "somebody", now, 0, 0, nil, store.Record{}); err != nil {
		t.Fatal(err)
	}
	r.until(t, func() bool { return len(r.Tunnels()) == 0 })
}

// TestTunnelsWithoutARowAreEnded: what somebody else ended, or took away, does not go on.
func TestTunnelsWithoutARowAreEnded(t *testing.T) {
	t.Parallel()
	r, repaired, _ := observed(t)
	h := r.join(t)
	ended, gone, live := r.up(t, h, holder("nora")), r.up(t, r.join(t), holder("nora")), r.up(t, r.join(t), holder("nora"))
	elsewhere := r.another(t)
	if first, err := elsewhere.EndTunnel(t.Context(), ended.TunnelID, "somebody", time.Now(), 0, 0, nil, store.Record{Actor: "mallory"}); err != nil || !first {
		t.Fatal(first, err)
	}
	s := r.saboteur(t)
	s.do("DELETE FROM tunnel_token WHERE tunnel_id = '" + gone.TunnelID + "'")
	s.do("DELETE FROM tunnel WHERE id = '" + gone.TunnelID + "'")
	r.compareSessions(t.Context(), time.Now())
	r.until(t, func() bool { return len(r.Tunnels()) == 1 })
	if all := r.Tunnels(); all[0].TunnelID != live.TunnelID || !all[0].Up() {
		t.Errorf("goes on: %+v", all)
	}
	if n := r.peers(t); n != 1 {
		t.Errorf("%d peers, want 1", n)
	}
	r.compareSessions(t.Context(), time.Now())
	for id, want := range map[string]string{ended.TunnelID: "tunnel_down mallory somebody", gone.TunnelID: "tunnel_up nora"} {
		if got := r.lines(t, id); !slices.Equal(got[len(got)-2:], []string{want, "session_repaired"}) {
			t.Errorf("on record: %q", got)
		}
	}
	if got := repaired(); !slices.Equal(got, []string{"session", "session"}) {
		t.Errorf("repaired: %q", got)
	}
	again := r.up(t, h, holder("jon"))
	if again.TunnelID == ended.TunnelID {
		t.Error("the same tunnel again")
	}
}

// TestRowsThatWaitForTheTrailAreLeftAlone: an end that cannot be recorded yet keeps its reason.
func TestRowsThatWaitForTheTrailAreLeftAlone(t *testing.T) {
	t.Parallel()
	r, repaired, _ := observed(t)
	h := r.join(t)
	id := r.up(t, h, holder("nora")).TunnelID
	s := r.saboteur(t)
	s.spoil("tunnel_down")
	if _, err := r.Disconnect(t.Context(), id, holder("nora"), false); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	r.compareSessions(t.Context(), later)
	s.mend()
	r.compareSessions(t.Context(), later)
	r.works(t, h.device.ID)
	r.compareSessions(t.Context(), later)
	if got := r.ending(t, id); got != OperatorDisconnect || len(repaired()) != 0 {
		t.Errorf("ended as %s, repaired %q", got, repaired())
	}
}
