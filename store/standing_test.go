package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStanding(t *testing.T) {
	t.Parallel()
	w := makeWorld(t)
	s, ctx := openAt(t, w.path), t.Context()
	if _, err := s.AddSession(ctx, hash("live"), Session{ID: "live", OperatorID: w.eve.ID, ExpiresAt: noon.Add(time.Hour)}, Record{}); err != nil {
		t.Fatal(err)
	}
	for id, expires := range map[string]time.Time{"over": noon, "good": noon.Add(1)} {
		if _, err := s.AddAPIToken(ctx, hash(id), APIToken{ID: id, OperatorID: w.ada.ID, ExpiresAt: expires}, Record{}); err != nil {
			t.Fatal(err)
		}
	}
	for id, state := range map[string]string{w.active.ID: Revoked, w.pending.ID: Quarantined} {
		if err := s.SetDeviceState(ctx, id, state, noon, Record{}); err != nil {
			t.Fatal(err)
		}
	}
	addCode(t, s, "later", Code{})
	later, err := s.RedeemCode(ctx, hash("later"), Device{Pin: pin(9_001)}, noon, Record{})
	if err != nil {
		t.Fatal(err)
	}
	locks, err := s.Locks(ctx, noon)
	if err != nil || len(locks) != 2 {
		t.Fatal(locks, err)
	}
	want := Standing{
		Operators:   map[string]Operator{w.ada.ID: w.ada, w.eve.ID: w.eve, w.zoe.ID: w.zoe},
		Credentials: map[string]string{"live": w.eve.ID, "good": w.ada.ID, w.token.ID: w.zoe.ID}, // zoe's session ended at noon
		Locks:       locks,
		Barred:      map[string]string{w.active.ID: Revoked, w.pending.ID: Quarantined},
		Waiting:     map[string]bool{later.ID: true},
	}
	waiting, _, err := s.Devices(ctx, DeviceQuery{Scope: everything, State: Pending})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range waiting {
		want.Waiting[d.ID] = true
	}
	got, err := s.Standing(ctx, noon)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := s.Standing(ctx, noon.Add(time.Hour)); len(got.Locks) != 1 || len(got.Credentials) != 1 || err != nil {
		t.Errorf("an hour later: %+v, %v", got, err)
	}
}
