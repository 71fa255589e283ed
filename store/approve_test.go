package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// redeem enrols a device on a machine.
func redeem(t *testing.T, s *Store, secret, machine string, n int) Device {
	t.Helper()
	d, err := s.RedeemCode(t.Context(), hash(secret), Device{Hostname: "pc", Machine: machine, Pin: pin(n)}, noon.Add(time.Duration(n)), Record{Source: "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestSameMachine makes sure that a code that approves by itself cannot bring a
// second key onto a machine that is known.
func TestSameMachine(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	addCode(t, s, "good", Code{Uses: 50, AutoApprove: true, CreatedBy: "ada"})
	state := func(d Device, state string) {
		t.Helper()
		if err := s.SetDeviceState(ctx, d.ID, state, noon, Record{}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, d Device, state, replaces string) {
		t.Helper()
		stored, err := s.Device(ctx, d.ID)
		if d.State != state || d.Replaces != replaces || err != nil {
			t.Errorf("%s: %+v, want %s, replaces %q", what, d, state, replaces)
		}
		if diff := cmp.Diff(d, stored, cmpAddr); diff != "" {
			t.Errorf("%s: as stored (-want +got):\n%s", what, diff)
		}
		if says := strings.Contains(lastRecord(t, s).Detail, "on the machine of device "+replaces); says != (replaces != "") {
			t.Errorf("%s: record %+v", what, lastRecord(t, s))
		}
	}
	first := redeem(t, s, "good", "m1", 1)
	check("the first", first, Active, "")
	if r := lastRecord(t, s); r.Source != "192.0.2.1" || r.Actor != "ada" {
		t.Errorf("record %+v", r)
	}
	check("another machine", redeem(t, s, "good", "m2", 2), Active, "")
	check("no machine", redeem(t, s, "good", "", 3), Active, "")
	check("no machine again", redeem(t, s, "good", "", 4), Active, "")
	check("the first again", redeem(t, s, "good", "m1", 1), Active, "")

	second := redeem(t, s, "good", "m1", 5)
	check("the same machine", second, Pending, first.ID)
	check("it tries again", redeem(t, s, "good", "m1", 5), Pending, first.ID)
	check("it tries without its machine", redeem(t, s, "good", "", 5), Pending, first.ID)
	check("a third", redeem(t, s, "good", "m1", 6), Pending, first.ID) // the approved one comes first

	state(first, Quarantined)
	check("the first is quarantined", redeem(t, s, "good", "m1", 7), Pending, first.ID)
	quiet := redeem(t, s, "good", "m8", 8)
	state(quiet, Revoked)
	check("the only one is revoked", redeem(t, s, "good", "m8", 9), Active, "")
}

func TestApproveDevice(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before   string // state of the device that is replaced
		decision Decision
		want     error
		after    string
		records  string
	}{
		"undecided":        {Active, "", ErrReplaces, Active, ""},
		"replaced":         {Active, Replace, nil, Revoked, "device_revoked device_approved"},
		"both":             {Active, KeepBoth, nil, Active, "device_approved"},
		"quarantined":      {Quarantined, "", ErrReplaces, Quarantined, ""},
		"quarantined goes": {Quarantined, Replace, nil, Revoked, "device_revoked device_approved"},
		"revoked since":    {Revoked, "", nil, Revoked, "device_approved"},
		"revoked already":  {Revoked, Replace, nil, Revoked, "device_approved"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, ctx := openTest(t), t.Context()
			addCode(t, s, "good", Code{Uses: 2, AutoApprove: true})
			old, d := redeem(t, s, "good", "m1", 1), redeem(t, s, "good", "m1", 2)
			if test.before != Active {
				if err := s.SetDeviceState(ctx, old.ID, test.before, noon, Record{}); err != nil {
					t.Fatal(err)
				}
			}
			before := kinds(t, s)
			did := Record{At: noon, Actor: "ada", Session: "s", Source: "192.0.2.7"}
			err := s.ApproveDevice(ctx, d.ID, test.decision, did)
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if got := strings.TrimSpace(strings.TrimPrefix(kinds(t, s), before)); got != test.records {
				t.Errorf("records %s, want %s", got, test.records)
			}
			if got, err := s.Device(ctx, old.ID); got.State != test.after || err != nil {
				t.Errorf("the old device is %s, %v, want %s", got.State, err, test.after)
			}
			want := Active
			if test.want != nil {
				want = Pending
			}
			if got, err := s.Device(ctx, d.ID); got.State != want || err != nil {
				t.Errorf("the device is %s, %v, want %s", got.State, err, want)
			}
			if test.decision != Replace || test.before == Revoked {
				return
			}
			lines, err := s.Records(ctx, RecordQuery{Scope: everything, DeviceID: old.ID, Limit: 1})
			gone := did
			gone.Seq, gone.Kind, gone.DeviceID, gone.Result, gone.Hostname = lines[0].Seq, "device_revoked", old.ID, Done, "pc"
			gone.Reason, gone.Detail = "replaced", "was "+test.before+"; replaced by device "+d.ID
			if diff := cmp.Diff([]Record{gone}, lines, noHash); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestApproveStates(t *testing.T) {
	t.Parallel()
	w := makeWorld(t)
	s, ctx := openAt(t, w.path), t.Context()
	did := Record{At: noon, Actor: "ada"}
	if err := s.ApproveDevice(ctx, w.pending.ID, "", did); err != nil {
		t.Fatal(err)
	}
	want := Record{At: noon, Actor: "ada", Kind: "device_approved", DeviceID: w.pending.ID, Result: Done, Detail: "was pending", Hostname: "pc-2"}
	if diff := cmp.Diff(want, lastRecord(t, s)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	before := kinds(t, s)
	if err := s.ApproveDevice(ctx, w.pending.ID, "", did); err != nil || kinds(t, s) != before {
		t.Errorf("again: %v, records %s", err, kinds(t, s))
	}
	for _, state := range []string{Quarantined, Revoked} {
		if err := s.SetDeviceState(ctx, w.pending.ID, state, noon, did); err != nil {
			t.Fatal(err)
		}
		err := s.ApproveDevice(ctx, w.pending.ID, "", did)
		if state == Quarantined && err != nil || state == Revoked && !errors.Is(err, ErrConflict) {
			t.Errorf("%s: error %v", state, err)
		}
	}
	if err := s.ApproveDevice(ctx, "none", "", did); !errors.Is(err, ErrNotFound) {
		t.Errorf("no device: error %v, want ErrNotFound", err)
	}
	if err := s.ApproveDevice(ctx, w.replacing.ID, "maybe", did); err == nil {
		t.Error("an unknown decision was accepted")
	}
}

// TestDenyDevice makes sure that a key that was denied is unknown again.
func TestDenyDevice(t *testing.T) {
	t.Parallel()
	w := makeWorld(t)
	s, ctx := openAt(t, w.path), t.Context()
	if _, err := s.SetOverrides(ctx, w.pending.ID, 0, someOverrides()); err != nil {
		t.Fatal(err)
	}
	if err := s.AddLock(ctx, Lock{Kind: LockDevice, Target: w.pending.ID, At: noon}, Record{}); err != nil {
		t.Fatal(err)
	}
	if err := s.DenyDevice(ctx, w.pending.ID, Record{At: noon, Actor: "ada", Reason: "unknown machine"}); err != nil {
		t.Fatal(err)
	}
	want := Record{
		At: noon, Actor: "ada", Kind: "device_denied", DeviceID: w.pending.ID, Target: "pc-2", Result: Done, Reason: "unknown machine",
		Detail: "waited since 2026-11-22T12:00:00Z; site Berlin, key " + w.pending.Pin,
	}
	if diff := cmp.Diff(want, lastRecord(t, s)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	for id, want := range map[string]error{w.pending.ID: ErrNotFound, "none": ErrNotFound, w.active.ID: ErrConflict, w.locked.ID: ErrConflict} {
		if err := s.DenyDevice(ctx, id, Record{}); !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", id, err, want)
		}
	}
	if locks, err := s.Locks(ctx, noon); len(locks) != 2 || err != nil {
		t.Errorf("locks %+v, %v", locks, err)
	}
	again, err := s.RedeemCode(ctx, hash("code"), Device{Pin: w.pending.Pin}, noon, Record{})
	if err != nil || again.ID == w.pending.ID || again.State != Pending {
		t.Errorf("its key again: %+v, %v", again, err)
	}
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
}

func TestExpirePending(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	addCode(t, s, "asking", Code{Uses: 9})
	addCode(t, s, "approving", Code{AutoApprove: true})
	redeem(t, s, "approving", "", 1)
	var waiting []Device
	for n := 2; n < 5; n++ {
		waiting = append(waiting, redeem(t, s, "asking", "", n))
	}
	before := kinds(t, s)
	if ids, err := s.ExpirePending(ctx, waiting[0].CreatedAt); len(ids) != 0 || err != nil || kinds(t, s) != before {
		t.Errorf("none is that old: %v, %v, records %s", ids, err, kinds(t, s))
	}
	ids, err := s.ExpirePending(ctx, waiting[2].CreatedAt)
	if diff := cmp.Diff([]string{waiting[0].ID, waiting[1].ID}, ids); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got := kinds(t, s); got != before+" device_expired device_expired" {
		t.Errorf("records %s", got)
	}
	if r := lastRecord(t, s); r.DeviceID != waiting[1].ID || r.Target != "pc" || r.Actor != "" {
		t.Errorf("record %+v", r)
	}
	if _, total, err := s.Devices(ctx, DeviceQuery{Scope: everything}); total != 2 || err != nil {
		t.Errorf("%d devices, %v, want the active one and the newest", total, err)
	}
}

func TestAutoApprovingCodes(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	for _, test := range []struct {
		uses int
		life time.Duration
		ok   bool
	}{
		{MaxAutoUses, MaxAutoLife, true}, {MaxAutoUses + 1, MaxAutoLife, false}, {1, MaxAutoLife + 1, false},
	} {
		c := Code{Uses: test.uses, AutoApprove: true, CreatedAt: noon, ExpiresAt: noon.Add(test.life)}
		_, err := s.AddCode(ctx, hash(test.life.String()), c, Record{})
		if (err == nil) != test.ok {
			t.Errorf("%d uses for %s: error %v", test.uses, test.life, err)
		}
		c.AutoApprove = false
		if _, err := s.AddCode(ctx, hash("asks"+test.life.String()+string(rune(test.uses))), c, Record{}); err != nil {
			t.Errorf("%d uses for %s and approval: %v", test.uses, test.life, err)
		}
	}
}

func TestCodeRecords(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	c := Code{Uses: 5, AutoApprove: true, Site: "Oslo", CreatedAt: noon, ExpiresAt: noon.Add(time.Hour)}
	c, err := s.AddCode(ctx, hash("secret"), c, Record{Actor: "ada"})
	if err != nil || c.CreatedBy != "ada" {
		t.Fatal(c, err)
	}
	want := Record{
		At: noon, Actor: "ada", Kind: "code_created", Target: c.ID, Result: Done,
		Detail: "for 5, until 2026-11-22T13:00:00Z, site Oslo, approves by itself",
	}
	if diff := cmp.Diff(want, lastRecord(t, s)); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	redeem(t, s, "secret", "", 1)
	if err := s.DeleteCode(ctx, c.ID, Record{At: noon, Actor: "eve"}); err != nil {
		t.Fatal(err)
	}
	want.Actor, want.Kind, want.Detail = "eve", "code_removed", "1 of 5 used"
	if diff := cmp.Diff(want, lastRecord(t, s)); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
}
