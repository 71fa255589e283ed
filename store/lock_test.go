package store

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLocks(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	addOperator(t, s, "ada")
	eve := addOperator(t, s, "eve")
	d := addDevices(t, s, 1)[0] // at Berlin
	did := Record{Actor: "ada", Source: "192.0.2.1"}
	operator := Lock{Kind: LockOperator, Target: eve.ID, Reason: "on leave", At: noon, Until: noon.Add(time.Hour)}
	device := Lock{Kind: LockDevice, Target: d.ID, Reason: "stolen", At: noon.Add(1)}
	site := Lock{Kind: LockSite, Target: "Berlin", Name: "the lab", Reason: "works", By: "console", At: noon.Add(2)}
	for _, l := range []Lock{operator, device, site} {
		if err := s.AddLock(ctx, l, did); err != nil {
			t.Fatal(err)
		}
	}
	operator.Name, operator.By = "eve", "ada"
	device.Name, device.By = "pc-1", "ada"
	list := func(what string, now time.Time, want ...Lock) {
		t.Helper()
		got, err := s.Locks(ctx, now)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	list("all", noon, site, device, operator)
	list("later", operator.Until, site, device)
	lines, err := s.Records(ctx, RecordQuery{Scope: everything, Kind: "locked"})
	want := []Record{
		{Seq: 6, At: noon.Add(2), Actor: "ada", Source: "192.0.2.1", Kind: "locked", Target: "the lab", Result: Done, Reason: "works", Detail: "site"},
		{Seq: 5, At: noon.Add(1), Actor: "ada", Source: "192.0.2.1", Kind: "locked", DeviceID: d.ID, Target: "pc-1", Result: Done, Reason: "stolen", Detail: "device", Hostname: "pc-1"},
		{Seq: 4, At: noon, Actor: "ada", Source: "192.0.2.1", Kind: "locked", Target: "eve", Result: Done, Reason: "on leave", Detail: "operator, until 2026-11-22T13:00:00Z"},
	}
	if diff := cmp.Diff(want, lines, noHash); diff != "" || err != nil {
		t.Errorf("records: %v (-want +got):\n%s", err, diff)
	}

	for _, test := range []struct {
		name string
		lock Lock
		want error // nil: any
	}{
		{"a second one", Lock{Kind: LockDevice, Target: d.ID, At: noon}, ErrConflict},
		{"an unknown operator", Lock{Kind: LockOperator, Target: "nobody"}, ErrNotFound},
		{"a name for an id", Lock{Kind: LockOperator, Target: "eve"}, ErrNotFound},
		{"an unknown device", Lock{Kind: LockDevice, Target: "none"}, ErrNotFound},
		{"an unknown site", Lock{Kind: LockSite, Target: "berlin"}, ErrNotFound},
		{"no site", Lock{Kind: LockSite}, ErrNotFound},
		{"something else", Lock{Kind: "world", Target: "x"}, nil},
		{"the past", Lock{Kind: LockSite, Target: "Berlin", At: noon, Until: noon}, nil},
	} {
		err := s.AddLock(ctx, test.lock, did)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", test.name, err, test.want)
		}
	}
	list("after what was refused", noon, site, device, operator)

	if err := s.DeleteLock(ctx, LockDevice, d.ID, Record{At: noon, Actor: "ada"}); err != nil {
		t.Fatal(err)
	}
	lifted := Record{At: noon, Actor: "ada", Kind: "unlocked", DeviceID: d.ID, Target: "pc-1", Result: Done, Detail: "device", Hostname: "pc-1"}
	if diff := cmp.Diff(lifted, lastRecord(t, s)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	list("after one was lifted", noon, site, operator)
	if err := s.DeleteLock(ctx, LockDevice, d.ID, Record{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("lift it again: error %v, want ErrNotFound", err)
	}
}

func TestExpireLocks(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	d := addDevices(t, s, 2)
	for i, l := range []Lock{{Until: noon.Add(time.Hour)}, {}} {
		l.Kind, l.Target, l.At, l.Reason = LockDevice, d[i].ID, noon, "why"
		if err := s.AddLock(ctx, l, Record{Actor: "ada"}); err != nil {
			t.Fatal(err)
		}
	}
	before := kinds(t, s)
	if err := s.ExpireLocks(ctx, noon.Add(time.Hour-1)); err != nil || kinds(t, s) != before {
		t.Errorf("before anything ends: %v, records %s", err, kinds(t, s))
	}
	end := noon.Add(time.Hour)
	for range 2 { // the second time there is nothing to do
		if err := s.ExpireLocks(ctx, end); err != nil {
			t.Fatal(err)
		}
	}
	if got := kinds(t, s); got != before+" lock_expired" {
		t.Errorf("records %s", got)
	}
	want := Record{
		At: end, Kind: "lock_expired", DeviceID: d[0].ID, Target: "pc-1", Result: Done, Reason: "why",
		Detail: "device, until 2026-11-22T13:00:00Z", Hostname: "pc-1",
	}
	if diff := cmp.Diff(want, lastRecord(t, s)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if all, err := s.Locks(ctx, end); len(all) != 1 || all[0].Target != d[1].ID || err != nil {
		t.Errorf("locks %+v, %v", all, err)
	}
}

// TestLockAgain makes sure that a lock that has ended, and that nobody has cleared
// away, does not keep the next one out.
func TestLockAgain(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	d := addDevices(t, s, 1)[0]
	for i := range 2 {
		at := noon.Add(time.Duration(i) * time.Hour)
		if err := s.AddLock(ctx, Lock{Kind: LockDevice, Target: d.ID, At: at, Until: at.Add(time.Hour)}, Record{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := kinds(t, s); got != "device_enrolled locked lock_expired locked" {
		t.Errorf("records %s", got)
	}
}
