package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

func TestActivity(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	devices := addDevices(t, s, 2) // lines 1 and 2
	lines := []Record{
		{Seq: 3, At: noon, DeviceID: devices[0].ID, TunnelID: "t1", Actor: "ada", Kind: "tunnel_up", Reason: "r", Detail: "d\x00\n\xff", Hostname: "pc-1"},
		{Seq: 4, At: noon.Add(-time.Hour), Actor: "eve", Kind: "sign_in_failed", Detail: "from 192.0.2.1"},
		{Seq: 5, At: noon, DeviceID: "no such device", Kind: "agent_offline"},
		{Seq: 6, At: noon, DeviceID: devices[1].ID, Kind: "agent_online", Hostname: "pc-2"},
		{Seq: 7, At: noon, DeviceID: devices[0].ID, Kind: "agent_online", Hostname: "pc-1"},
	}
	for _, a := range lines {
		a.Seq, a.Hostname = 99, "ignored"
		if err := s.AddRecord(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name  string
		query RecordQuery
		want  []Record
	}{
		{"newest", RecordQuery{Limit: 2}, []Record{lines[4], lines[3]}},
		{"before", RecordQuery{Limit: 2, Before: 6}, []Record{lines[2], lines[1]}},
		{"of a device", RecordQuery{DeviceID: devices[0].ID, Limit: 2}, []Record{lines[4], lines[0]}},
		{"of a device before", RecordQuery{DeviceID: devices[0].ID, Limit: 1, Before: 7}, []Record{lines[0]}},
		{"before the first", RecordQuery{Before: 1}, nil},
		{"of nobody", RecordQuery{DeviceID: "none"}, nil},
	}
	for _, test := range tests {
		got, err := s.Records(ctx, test.query)
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", test.name, err, diff)
		}
	}
	if err := s.UpdateDevice(ctx, devices[1].ID, DeviceFacts{Hostname: "renamed", Seen: noon}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Records(ctx, RecordQuery{Before: 7, Limit: 1}); err != nil || got[0].Hostname != "renamed" {
		t.Errorf("after the device was renamed: %+v, %v", got, err)
	}
	if err := s.AddRecord(ctx, Record{}); err == nil {
		t.Error("activity without a kind was stored")
	}
	before := time.Now()
	if err := s.AddRecord(ctx, Record{Kind: "signed_in"}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Records(ctx, RecordQuery{Limit: 1}); err != nil || got[0].At.Before(before) || got[0].At.After(time.Now()) {
		t.Errorf("activity without a time: %+v, %v, want it to be now", got, err)
	}
}

func TestActivityIsKept(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	if err := s.AddRecord(ctx, Record{Kind: "signed_in", Actor: "ada"}); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"DELETE FROM activity", "UPDATE activity SET actor = 'eve'"} {
		err := s.write(ctx, func(conn *sqlite.Conn) error {
			return sqlitex.ExecuteTransient(conn, statement, nil)
		})
		if err == nil {
			t.Errorf("%s was done", statement)
		}
	}
	if got, err := s.Records(ctx, RecordQuery{}); err != nil || len(got) != 1 || got[0].Actor != "ada" {
		t.Errorf("activity %+v, %v", got, err)
	}
}

func TestSetting(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	if _, err := s.Setting(ctx, "idle"); !errors.Is(err, ErrNotFound) {
		t.Errorf("before it is set: error %v, want ErrNotFound", err)
	}
	for _, value := range []string{"900", "", "a'b\x00c\nd"} {
		if err := s.SetSetting(ctx, "idle", value); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Setting(ctx, "idle"); err != nil || got != value {
			t.Errorf("setting is %q, %v, want %q", got, err, value)
		}
	}
	if _, err := s.Setting(ctx, "IDLE"); !errors.Is(err, ErrNotFound) {
		t.Errorf("another key: error %v, want ErrNotFound", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Setting(cancelled, "idle"); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: error %v, want context.Canceled", err)
	}
}
