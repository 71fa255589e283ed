package tunnel

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/agent/wire"
	"borealis/store"
)

// An updatable is an agent's channel that hands the test what the engine sends.
type updatable struct {
	*Channel
	device store.Device
	gone   chan struct{}
	offers chan wire.Update
}

// updatable brings a device online whose agent speaks a protocol.
func (r *rig) updatable(t *testing.T, d store.Device, protocol int) *updatable {
	t.Helper()
	hello := wire.Hello{Nonce: testNonce, Hostname: d.Hostname, OS: "windows", Link: "netstack", Dialled: "127.0.0.1:1", Protocol: protocol}
	c, err := r.Join(t.Context(), d, hello, "127.0.0.1", r.keys.Identity, func(context.Context) error { return errors.New("gone") })
	if err != nil {
		t.Fatal(err)
	}
	u := &updatable{Channel: c, device: d, gone: make(chan struct{}), offers: make(chan wire.Update, 8)}
	go func() {
		defer close(u.gone)
		for m := range c.Outgoing() {
			if m.Update != nil {
				u.offers <- *m.Update
			}
		}
	}()
	t.Cleanup(u.leave)
	return u
}

func (u *updatable) leave() {
	u.Leave()
	<-u.gone
}

// says hands in news of an update.
func (u *updatable) says(t *testing.T, version, outcome, detail string) error {
	t.Helper()
	return u.Receive(t.Context(), wire.FromAgent{Updated: &wire.Updated{Version: version, Outcome: outcome, Detail: detail}})
}

// offer offers version 2 as an administrator.
func (r *rig) offer(t *testing.T, d store.Device) error {
	t.Helper()
	who := holder("ada")
	who.Source = "192.0.2.7"
	return r.OfferUpdate(t.Context(), who, d.ID, "v2", "v4.public.manifest")
}

// trail is what is on record about updates, without times.
func (r *rig) trail(t *testing.T, d store.Device) []store.Record {
	t.Helper()
	var all []store.Record
	for _, rec := range r.records(t, store.RecordQuery{DeviceID: d.ID}) {
		switch rec.Kind {
		case "agent_update_offered", "agent_updated", "agent_update_failed", "agent_update_rolled_back":
			all = append(all, store.Record{Kind: rec.Kind, Actor: rec.Actor, Source: rec.Source, Target: rec.Target, Result: rec.Result, Detail: rec.Detail})
		}
	}
	return all
}

func TestUpdateIsOfferedAndDone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device(t, "PC")
	u := r.updatable(t, d, 2)
	if last, _, ok := r.LastUpdate(d.ID); ok {
		t.Errorf("before any offer there is %+v", last)
	}
	if err := r.offer(t, d); err != nil {
		t.Fatal(err)
	}
	if m := <-u.offers; m.Manifest != "v4.public.manifest" {
		t.Errorf("the agent gets %+v", m)
	}
	if last, underWay, ok := r.LastUpdate(d.ID); !ok || !underWay || last.Version != "v2" || last.Outcome != UpdateOffered || last.At.IsZero() {
		t.Errorf("after the offer there is %+v, %v", last, underWay)
	}
	if err := r.offer(t, d); !errors.Is(err, ErrUpdating) {
		t.Errorf("a second offer: %v", err)
	}
	if err := u.says(t, "v2", wire.UpdateStarted, ""); err != nil {
		t.Fatal(err)
	}
	if err := r.offer(t, d); !errors.Is(err, ErrUpdating) {
		t.Errorf("an offer while it is being done: %v", err)
	}
	u.leave() // It starts again.
	u = r.updatable(t, d, 2)
	if err := u.says(t, "v2", wire.UpdateDone, ""); err != nil {
		t.Fatal(err)
	}
	if last, underWay, ok := r.LastUpdate(d.ID); !ok || underWay || last.Version != "v2" || last.Outcome != wire.UpdateDone {
		t.Errorf("at the end there is %+v, %v", last, underWay)
	}
	want := []store.Record{
		{Kind: "agent_update_offered", Actor: "ada", Source: "192.0.2.7", Target: "v2", Result: store.Done},
		{Kind: "agent_updated", Target: "v2", Result: store.Done},
	}
	if diff := cmp.Diff(want, r.trail(t, d)); diff != "" {
		t.Errorf("on record (-want +got):\n%s", diff)
	}
}

// TestUpdateFails has every end that is none, after each of which another offer is taken.
func TestUpdateFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device(t, "PC")
	u := r.updatable(t, d, 2)
	want := []store.Record{}
	for _, c := range []struct{ outcome, kind, result string }{
		{wire.UpdateRefused, "agent_update_failed", store.Refused},
		{wire.UpdateFailed, "agent_update_failed", store.Failed},
		{wire.UpdateRolledBack, "agent_update_rolled_back", store.Failed},
	} {
		if err := r.offer(t, d); err != nil {
			t.Fatal(err)
		}
		<-u.offers
		if err := u.says(t, "", c.outcome, "It did not work."); err != nil {
			t.Fatal(err)
		}
		r.until(t, r.settled) // What agents say is recorded when it can be, what is offered at once.
		last, underWay, _ := r.LastUpdate(d.ID)
		last.At = time.Time{}
		if diff := cmp.Diff(Update{Version: "v2", Outcome: c.outcome, Detail: "It did not work."}, last); diff != "" || underWay {
			t.Errorf("after %s (-want +got):\n%s", c.outcome, diff)
		}
		want = append(want,
			store.Record{Kind: "agent_update_offered", Actor: "ada", Source: "192.0.2.7", Target: "v2", Result: store.Done},
			store.Record{Kind: c.kind, Target: "v2", Result: c.result, Detail: "It did not work."})
	}
	if diff := cmp.Diff(want, r.trail(t, d)); diff != "" {
		t.Errorf("on record (-want +got):\n%s", diff)
	}
}

func TestUpdateIsNotOffered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	offline, _ := r.device(t, "OFF")
	if err := r.offer(t, offline); !errors.Is(err, ErrOffline) {
		t.Errorf("to an offline device: %v", err)
	}
	if err := r.offer(t, store.Device{ID: "nobody"}); !errors.Is(err, ErrUnknownDevice) {
		t.Errorf("to no device: %v", err)
	}
	old, _ := r.device(t, "OLD")
	r.updatable(t, old, 1)
	if err := r.offer(t, old); !errors.Is(err, ErrTooOld) {
		t.Errorf("to an old agent: %v", err)
	}
	waiting, _ := r.device(t, "NEW", func(c *store.Code) { c.AutoApprove = false })
	r.updatable(t, waiting, 2)
	if err := r.offer(t, waiting); !errors.Is(err, ErrPending) {
		t.Errorf("to a device that waits: %v", err)
	}
	set, _ := r.device(t, "SET")
	if err := r.store.SetDeviceState(t.Context(), set.ID, store.Quarantined, time.Now(), store.Record{}); err != nil {
		t.Fatal(err)
	}
	if err := r.offer(t, set); !errors.Is(err, ErrRevoked) {
		t.Errorf("to a device that is set aside: %v", err)
	}
	shut, _ := r.device(t, "SHUT")
	r.updatable(t, shut, 2)
	if err := r.store.AddLock(t.Context(), store.Lock{Kind: store.LockDevice, Target: shut.ID}, store.Record{}); err != nil {
		t.Fatal(err)
	}
	if err := r.offer(t, shut); !errors.Is(err, ErrLocked) {
		t.Errorf("to a locked device: %v", err)
	}
	for _, d := range []store.Device{offline, old, waiting, set, shut} {
		if got := r.trail(t, d); len(got) > 0 {
			t.Errorf("%s: on record is %+v", d.Hostname, got)
		}
	}
}

// TestUpdateWaitsForTheTunnel offers nothing to a device that somebody uses.
func TestUpdateWaitsForTheTunnel(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device(t, "PC")
	u := r.updatable(t, d, 2)
	st, err := r.Connect(t.Context(), d.ID, holder("nora"), ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = r.offer(t, d)
	active, is := errors.AsType[*ActiveError](err)
	if !is || active.TunnelID != st.TunnelID {
		t.Errorf("while it is used: %v", err)
	}
	if _, err := r.Disconnect(t.Context(), d.ID, holder("nora"), true); err != nil {
		t.Fatal(err)
	}
	if err := r.offer(t, d); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	<-u.offers
}

// TestUnaskedNews bounds what an agent can put on record by itself.
func TestUnaskedNews(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device(t, "PC")
	u := r.updatable(t, d, 2)
	for range maxUpdateNews {
		if err := u.says(t, "v9", wire.UpdateDone, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.says(t, "v9", wire.UpdateDone, ""); err == nil {
		t.Error("news without end are taken")
	}
	if got := r.trail(t, d); len(got) != maxUpdateNews {
		t.Errorf("on record is %+v", got)
	}
}
