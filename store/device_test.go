package store

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// cmpAddr compares addresses.
var cmpAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestUpdateDevice(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	devices := addDevices(t, s, 2)
	later := noon.Add(time.Minute)
	facts := DeviceFacts{Hostname: "renamed", OS: "linux", OSVersion: "13", Arch: "arm64", AgentVersion: "2.0", Link: "netstack", Seen: later}
	if err := s.UpdateDevice(ctx, devices[0].ID, facts); err != nil {
		t.Fatal(err)
	}
	want := devices[0]
	want.Hostname, want.OS, want.OSVersion, want.Arch = "renamed", "linux", "13", "arm64"
	want.AgentVersion, want.Link, want.LastSeen = "2.0", "netstack", later
	check := func(what string, want Device) {
		t.Helper()
		got, err := s.Device(ctx, want.ID)
		if diff := cmp.Diff(want, got, cmpAddr); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	check("updated", want)
	check("the other one", devices[1])

	for _, at := range []time.Duration{2 * time.Minute, time.Second} { // the second one comes late
		if err := s.SeenDevice(ctx, want.ID, noon.Add(at)); err != nil {
			t.Fatal(err)
		}
	}
	want.LastSeen = noon.Add(2 * time.Minute)
	check("seen", want)
	facts.Seen = noon
	if err := s.UpdateDevice(ctx, want.ID, facts); err != nil {
		t.Fatal(err)
	}
	check("updated late", want)

	if err := s.UpdateDevice(ctx, "none", facts); !errors.Is(err, ErrNotFound) {
		t.Errorf("update an unknown device: error %v, want ErrNotFound", err)
	}
	if err := s.SeenDevice(ctx, "none", noon); !errors.Is(err, ErrNotFound) {
		t.Errorf("see an unknown device: error %v, want ErrNotFound", err)
	}
	if _, err := s.Device(ctx, "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown id: error %v, want ErrNotFound", err)
	}
	if _, err := s.DeviceByPin(ctx, pin(99)); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown pin: error %v, want ErrNotFound", err)
	}
}

func TestSetDeviceState(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	addCode(t, s, "secret", Code{})
	d, err := s.RedeemCode(ctx, hash("secret"), Device{Pin: pin(1)}, noon, Record{})
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		state, kind string // no kind: nothing changes
	}{
		{Active, "device_approved"},
		{Active, ""},
		{Quarantined, "device_quarantined"},
		{Revoked, "device_revoked"},
		{Revoked, ""},
	}
	was := Pending
	for i, step := range steps {
		before, err := s.Records(ctx, RecordQuery{Scope: everything})
		if err != nil {
			t.Fatal(err)
		}
		at := noon.Add(time.Duration(i) * time.Minute)
		if err := s.SetDeviceState(ctx, d.ID, step.state, at, Record{Actor: "ada"}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Device(ctx, d.ID); err != nil || got.State != step.state {
			t.Errorf("state %q, %v, want %q", got.State, err, step.state)
		}
		after, err := s.Records(ctx, RecordQuery{Scope: everything})
		if err != nil {
			t.Fatal(err)
		}
		want := before
		if step.kind != "" {
			line := Record{Seq: before[0].Seq + 1, At: at, DeviceID: d.ID, Actor: "ada", Kind: step.kind, Result: Done, Detail: "was " + was}
			want = append([]Record{line}, before...)
		}
		if diff := cmp.Diff(want, after, noHash); diff != "" {
			t.Errorf("activity after %s (-want +got):\n%s", step.state, diff)
		}
		was = step.state
	}
	for _, state := range []string{Pending, "", "trusted"} {
		if err := s.SetDeviceState(ctx, d.ID, state, noon, Record{Actor: "ada"}); err == nil {
			t.Errorf("state %q was accepted", state)
		}
	}
	if err := s.SetDeviceState(ctx, "none", Active, noon, Record{Actor: "ada"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown device: error %v, want ErrNotFound", err)
	}
}

func TestDevices(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	addCode(t, s, "berlin", Code{Uses: 10, Site: "Berlin"})
	addCode(t, s, "oslo", Code{Uses: 10, Site: "Oslo"})
	var twins [2]Device
	for i, d := range []struct{ secret, hostname, os string }{
		{"berlin", "web-2", "linux"},
		{"berlin", "Beta", "windows"},
		{"oslo", "web-1", "linux"},
		{"oslo", "50%_off", "windows"},
		{"oslo", "web-1", "linux"},
		{"oslo", "berliner", "windows"},
	} {
		got, err := s.RedeemCode(ctx, hash(d.secret), Device{Hostname: d.hostname, OS: d.os, Pin: pin(i)}, noon, Record{})
		if err != nil {
			t.Fatal(err)
		}
		if i == 2 || i == 4 {
			twins[i/2-1] = got
		}
	}
	if ip, err := s.Lease(ctx, twins[0].ID, pool16); err != nil || ip.String() != "10.255.0.2" {
		t.Fatal(ip, err)
	}
	tests := []struct {
		name  string
		query DeviceQuery
		want  []string
		total int
	}{
		{"all", DeviceQuery{Scope: everything}, []string{"50%_off", "berliner", "Beta", "web-1", "web-1", "web-2"}, 6},
		{"first page", DeviceQuery{Scope: everything, Limit: 2}, []string{"50%_off", "berliner"}, 6},
		{"second page", DeviceQuery{Scope: everything, Limit: 2, Offset: 2}, []string{"Beta", "web-1"}, 6},
		{"behind the end", DeviceQuery{Scope: everything, Offset: 6}, nil, 6},
		{"negative", DeviceQuery{Scope: everything, Limit: -1, Offset: -1}, []string{"50%_off", "berliner", "Beta", "web-1", "web-1", "web-2"}, 6},
		{"part of a name", DeviceQuery{Scope: everything, Text: "EB-"}, []string{"web-1", "web-1", "web-2"}, 3},
		{"page of a search", DeviceQuery{Scope: everything, Text: " web ", Limit: 1, Offset: 1}, []string{"web-1"}, 3},
		{"site or name", DeviceQuery{Scope: everything, Text: "berlin"}, []string{"berliner", "Beta", "web-2"}, 3},
		{"system", DeviceQuery{Scope: everything, Text: "Windows"}, []string{"50%_off", "berliner", "Beta"}, 3},
		{"no wildcards", DeviceQuery{Scope: everything, Text: "%"}, []string{"50%_off"}, 1},
		{"no wildcards either", DeviceQuery{Scope: everything, Text: "e_a"}, nil, 0},
		{"quotes", DeviceQuery{Scope: everything, Text: "' OR '1'='1"}, nil, 0},
		{"id", DeviceQuery{Scope: everything, Text: twins[1].ID}, []string{"web-1"}, 1},
		{"address", DeviceQuery{Scope: everything, Text: "10.255.0.2"}, []string{"web-1"}, 1},
		{"nobody's address", DeviceQuery{Scope: everything, Text: "10.255.0.3"}, nil, 0},
		{"other family", DeviceQuery{Scope: everything, Text: "::ffff:10.255.0.2"}, nil, 0},
	}
	for _, test := range tests {
		got, total, err := s.Devices(ctx, test.query)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		var names []string
		for _, d := range got {
			names = append(names, d.Hostname)
		}
		if diff := cmp.Diff(test.want, names); diff != "" || total != test.total {
			t.Errorf("%s: total %d, want %d (-want +got):\n%s", test.name, total, test.total, diff)
		}
	}
	same, _, err := s.Devices(ctx, DeviceQuery{Scope: everything, Text: "web-1"})
	if err != nil || len(same) != 2 || same[0].ID >= same[1].ID {
		t.Errorf("devices with one name are not in the order of their ids: %v, %v", same, err)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	addDevices(t, s, MaxPage+1)
	for limit, want := range map[int]int{0: PageSize, 1: 1, MaxPage: MaxPage, MaxPage + 1: MaxPage} {
		devices, total, err := s.Devices(ctx, DeviceQuery{Scope: everything, Limit: limit})
		if len(devices) != want || total != MaxPage+1 || err != nil {
			t.Errorf("limit %d: %d devices of %d, %v, want %d", limit, len(devices), total, err, want)
		}
		lines, err := s.Records(ctx, RecordQuery{Scope: everything, Limit: limit})
		if len(lines) != want || err != nil {
			t.Errorf("limit %d: %d lines, %v, want %d", limit, len(lines), err, want)
		}
	}
	seen := make(map[string]bool)
	for offset := 0; offset <= MaxPage+1; offset += 90 {
		devices, _, err := s.Devices(ctx, DeviceQuery{Scope: everything, Limit: 90, Offset: offset})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range devices {
			if seen[d.ID] {
				t.Errorf("device %s is on two pages", d.Hostname)
			}
			seen[d.ID] = true
		}
	}
	if len(seen) != MaxPage+1 {
		t.Errorf("all pages together have %d devices, want %d", len(seen), MaxPage+1)
	}
	if fmt.Sprint(MaxPage, PageSize) != "1000 100" {
		t.Errorf("limits are %d and %d", MaxPage, PageSize)
	}
}
