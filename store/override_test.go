package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// someOverrides are two services and two custom ports, in the order in which they
// are read.
func someOverrides() []Override {
	return []Override{
		{Protocol: "udp", From: 5000, To: 5010, Label: "media ☃", Allowed: true, Until: noon.Add(time.Hour), Reason: "demo", By: "nora", At: noon},
		{Protocol: "tcp", From: 8443, To: 8443, Allowed: false, By: "jon", At: noon.Add(time.Minute)},
		{Service: "rdp", Allowed: false, By: "nora", At: noon},
		{Service: "ssh", Allowed: true, Until: noon.Add(30 * time.Minute), By: "nora", At: noon},
	}
}

func TestOverrides(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "borealis.db")
	s, ctx := openAt(t, path), t.Context()
	devices := addDevices(t, s, 2)
	id := devices[0].ID
	if revision, all, err := s.Overrides(ctx, id); revision != 0 || len(all) != 0 || err != nil {
		t.Errorf("before anything: %d, %+v, %v", revision, all, err)
	}
	want := someOverrides()
	did := Record{At: noon, Actor: "nora", Detail: "RDP closed"}
	if revision, err := s.SetOverrides(ctx, id, 0, want, did); revision != 1 || err != nil {
		t.Fatalf("set: revision %d, %v", revision, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	revision, all, err := s.Overrides(ctx, id)
	if diff := cmp.Diff(want, all); diff != "" || revision != 1 || err != nil {
		t.Errorf("after reopening: %d, %v (-want +got):\n%s", revision, err, diff)
	}
	if revision, all, err := s.Overrides(ctx, devices[1].ID); revision != 0 || len(all) != 0 || err != nil {
		t.Errorf("another device: %d, %+v, %v", revision, all, err)
	}
	lines, err := s.Records(ctx, RecordQuery{Scope: everything, DeviceID: id, Limit: 1})
	wantLine := Record{Seq: 3, At: noon, DeviceID: id, Actor: "nora", Kind: "ports_changed", Result: Done, Detail: "RDP closed", Hostname: "pc-1"}
	if diff := cmp.Diff([]Record{wantLine}, lines, noHash); diff != "" || err != nil {
		t.Errorf("activity: %v (-want +got):\n%s", err, diff)
	}
	if revision, err := s.SetOverrides(ctx, id, 1, nil); revision != 2 || err != nil {
		t.Fatalf("reset: revision %d, %v", revision, err)
	}
	if revision, all, err := s.Overrides(ctx, id); revision != 2 || len(all) != 0 || err != nil {
		t.Errorf("after the reset: %d, %+v, %v", revision, all, err)
	}
	if got, want := kinds(t, s), "device_enrolled device_enrolled ports_changed ports_changed"; got != want {
		t.Errorf("activity %s, want %s", got, want)
	}
}

func TestOverridesOfAnUnknownDevice(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	if _, _, err := s.Overrides(ctx, "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("read: %v", err)
	}
	if _, err := s.SetOverrides(ctx, "none", 0, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("set: %v", err)
	}
	if got := kinds(t, s); got != "" {
		t.Errorf("activity %s", got)
	}
}

// TestStaleRevision lets many change what all of them have seen: one may.
func TestStaleRevision(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	id := addDevices(t, s, 1)[0].ID
	errs := atOnce(8, func(i int) error {
		_, err := s.SetOverrides(ctx, id, 0, []Override{{Service: fmt.Sprint("service-", i), At: noon}})
		return err
	})
	if n := count(t, errs, ErrRevision); n != 1 {
		t.Errorf("%d of 8 changed it, want 1", n)
	}
	won := slices.Index(errs, nil)
	revision, all, err := s.Overrides(ctx, id)
	if revision != 1 || len(all) != 1 || all[0].Service != fmt.Sprint("service-", won) || err != nil {
		t.Errorf("caller %d won, and stored is %d, %+v, %v", won, revision, all, err)
	}
	if got, want := kinds(t, s), "device_enrolled ports_changed"; got != want {
		t.Errorf("activity %s, want %s", got, want)
	}
}

// TestOverridesThatCannotBe changes nothing by sets that the schema or the method refuses.
func TestOverridesThatCannotBe(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	id := addDevices(t, s, 1)[0].ID
	many := func(n int) (all []Override) {
		for i := range n {
			all = append(all, Override{Protocol: "tcp", From: uint16(1000 + i), To: uint16(1000 + i), At: noon})
		}
		return all
	}
	if _, err := s.SetOverrides(ctx, id, 0, append(many(64), Override{Service: "rdp", At: noon})); err != nil {
		t.Errorf("64 ports and a service: %v", err)
	}
	before := many(1)
	if _, err := s.SetOverrides(ctx, id, 1, before); err != nil {
		t.Fatal(err)
	}
	for name, all := range map[string][]Override{
		"65 ports":            many(65),
		"the same twice":      append(many(1), many(1)...),
		"port 0":              {{Protocol: "tcp", From: 0, To: 1}},
		"range reversed":      {{Protocol: "tcp", From: 2, To: 1}},
		"no protocol":         {{From: 1, To: 1}},
		"unknown protocol":    {{Protocol: "sctp", From: 1, To: 1}},
		"service with a port": {{Service: "rdp", Protocol: "tcp", From: 1, To: 1}},
		"nothing":             {{}},
		"long label":          {{Protocol: "tcp", From: 1, To: 1, Label: fmt.Sprintf("%065d", 0)}},
		"long reason":         {{Service: "rdp", Reason: fmt.Sprintf("%0201d", 0)}},
	} {
		if _, err := s.SetOverrides(ctx, id, 2, all); err == nil {
			t.Errorf("%s: stored", name)
		}
	}
	revision, all, err := s.Overrides(ctx, id)
	if diff := cmp.Diff(before, all); diff != "" || revision != 2 || err != nil {
		t.Errorf("after the refusals: %d, %v (-want +got):\n%s", revision, err, diff)
	}
}

func TestOverridesExpire(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	devices := addDevices(t, s, 3)
	next := func(want time.Time) {
		t.Helper()
		if got, err := s.NextExpiry(ctx); !got.Equal(want) || err != nil {
			t.Errorf("next expiry %v, %v; want %v", got, err, want)
		}
	}
	next(time.Time{})
	set := func(d Device, all ...Override) {
		t.Helper()
		if _, err := s.SetOverrides(ctx, d.ID, 0, all); err != nil {
			t.Fatal(err)
		}
	}
	set(devices[0], someOverrides()...)
	set(devices[1], Override{Service: "rdp", Until: noon.Add(30 * time.Minute), At: noon})
	set(devices[2], Override{Service: "rdp", At: noon})
	next(noon.Add(30 * time.Minute))
	if ids, err := s.ExpireOverrides(ctx, noon.Add(30*time.Minute-1)); len(ids) != 0 || err != nil {
		t.Errorf("too early: %v, %v", ids, err)
	}
	for range 2 { // the second time finds nothing
		ids, err := s.ExpireOverrides(ctx, noon.Add(30*time.Minute))
		slices.Sort(ids)
		want := []string{devices[0].ID, devices[1].ID}
		slices.Sort(want)
		if len(ids) == 0 && err == nil {
			break
		}
		if diff := cmp.Diff(want, ids); diff != "" || err != nil {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
	}
	next(noon.Add(time.Hour))
	revision, all, err := s.Overrides(ctx, devices[0].ID)
	if diff := cmp.Diff(someOverrides()[:3], all); diff != "" || revision != 2 || err != nil {
		t.Errorf("what is left: %d, %v (-want +got):\n%s", revision, err, diff)
	}
	lines, err := s.Records(ctx, RecordQuery{Scope: everything, DeviceID: devices[0].ID, Limit: 1})
	if err != nil || lines[0].Kind != "port_override_expired" || lines[0].Detail != "ssh was allowed by nora until 2026-11-22 12:30 UTC" {
		t.Errorf("activity %+v, %v", lines, err)
	}
	if ids, err := s.ExpireOverrides(ctx, noon.Add(time.Hour)); len(ids) != 1 || err != nil {
		t.Errorf("the last one: %v, %v", ids, err)
	}
	lines, err = s.Records(ctx, RecordQuery{Scope: everything, DeviceID: devices[0].ID, Limit: 1})
	if err != nil || lines[0].Detail != "5000-5010/udp (media ☃) was allowed by nora until 2026-11-22 13:00 UTC" {
		t.Errorf("activity %+v, %v", lines, err)
	}
	next(time.Time{})
	if got, want := kinds(t, s), "device_enrolled device_enrolled device_enrolled ports_changed ports_changed ports_changed"+
		" port_override_expired port_override_expired port_override_expired"; got != want {
		t.Errorf("activity %s, want %s", got, want)
	}
}

// TestOldDatabaseGetsOverrides opens a file that was made before there were any.
func TestOldDatabaseGetsOverrides(t *testing.T) {
	t.Parallel()
	path, conn := openOld(t, 1)
	do(t, conn, "INSERT INTO device VALUES ('d', '"+pin(1)+"', 'active', 'pc-1', '', '', '', '', '', '', '', NULL, 1, 1)")
	s := openAt(t, path)
	if revision, err := s.SetOverrides(t.Context(), "d", 0, someOverrides()); revision != 1 || err != nil {
		t.Errorf("revision %d, %v", revision, err)
	}
}
