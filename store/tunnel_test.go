package store

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"
)

func TestTunnel(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	d := addDevices(t, s, 1)[0]
	want := Tunnel{
		ID: "t1", DeviceID: d.ID, Operator: "ada", TokenID: "jti", VirtualIP: netip.MustParseAddr("10.255.0.2"), State: "requested",
		RequestedAt: noon, Steps: []Step{{Name: "requested", At: noon, Detail: "by ada"}},
	}
	local := want
	local.RequestedAt = noon.In(time.FixedZone("CET", 3600))
	local.Steps = []Step{{Name: "requested", At: local.RequestedAt, Detail: "by ada"}}
	if err := s.AddTunnel(ctx, local, noon.Add(time.Minute), Record{Detail: "first"}); err != nil {
		t.Fatal(err)
	}
	check := func(what string) {
		t.Helper()
		got, err := s.Tunnel(ctx, "t1")
		if diff := cmp.Diff(want, got, cmpAddr); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	check("added")

	want.State = "offered"
	if err := s.SaveTunnel(ctx, "t1", "offered", time.Time{}, nil); err != nil {
		t.Fatal(err)
	}
	check("offered, steps kept")
	want.State, want.UpAt = "up", noon.Add(time.Second)
	want.Steps = append(want.Steps, Step{Name: "up", At: want.UpAt})
	if err := s.SaveTunnel(ctx, "t1", "up", want.UpAt, want.Steps); err != nil {
		t.Fatal(err)
	}
	check("up")
	want.State = "closing"
	if err := s.SaveTunnel(ctx, "t1", "closing", time.Time{}, nil); err != nil {
		t.Fatal(err)
	}
	check("closing, time of up kept")

	end := noon.Add(time.Hour)
	want.State, want.Reason, want.EndedAt, want.ReceivedBytes, want.SentBytes = "ended", "idle_timeout", end, 1<<40, 7
	want.Steps = append(want.Steps, Step{Name: "ended", At: end})
	first, err := s.EndTunnel(ctx, "t1", "idle_timeout", end, 1<<40, 7, want.Steps, Record{Actor: "engine"})
	if !first || err != nil {
		t.Errorf("first end: %v, %v", first, err)
	}
	check("ended")
	first, err = s.EndTunnel(ctx, "t1", "operator_left", end.Add(1), 0, 0, nil, Record{})
	if first || err != nil {
		t.Errorf("second end: %v, %v, want false", first, err)
	}
	if err := s.SaveTunnel(ctx, "t1", "up", noon, nil); !errors.Is(err, ErrConflict) {
		t.Errorf("save after the end: error %v, want ErrConflict", err)
	}
	check("ended once")

	lines, err := s.Records(ctx, RecordQuery{Scope: everything, DeviceID: d.ID, Limit: 2})
	record := []Record{
		{Seq: 3, At: end, DeviceID: d.ID, TunnelID: "t1", Actor: "engine", Kind: "tunnel_down", Result: Done, Reason: "idle_timeout", Hostname: "pc-1"},
		{Seq: 2, At: noon, DeviceID: d.ID, TunnelID: "t1", Actor: "ada", Kind: "tunnel_requested", Result: Done, Detail: "first", Hostname: "pc-1"},
	}
	if diff := cmp.Diff(record, lines, noHash); diff != "" || err != nil {
		t.Errorf("activity: %v (-want +got):\n%s", err, diff)
	}
}

func TestStepsAreKeptInUTC(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	v := Tunnel{ID: "t1", DeviceID: addDevices(t, s, 1)[0].ID, TokenID: "j", State: "requested"}
	v.Steps = []Step{{Name: "requested", At: noon.In(time.FixedZone("CET", 3600))}}
	if err := s.AddTunnel(ctx, v, noon, Record{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.EndTunnel(ctx, "t1", "r", time.Time{}, 0, 0, nil, Record{}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Tunnel(ctx, "t1")
	if err != nil || len(got.Steps) != 1 || got.Steps[0] != (Step{Name: "requested", At: noon}) {
		t.Errorf("steps %v, %v, want what was added, in UTC", got.Steps, err)
	}
	if got.EndedAt.Before(got.RequestedAt) || time.Since(got.EndedAt) > time.Minute {
		t.Errorf("requested at %v and ended at %v, want both to be now", got.RequestedAt, got.EndedAt)
	}
	if v.Steps[0].At.Location() == time.UTC {
		t.Error("the caller's steps were changed")
	}
}

func TestTunnelActivityIsTheCallers(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	d := addDevices(t, s, 1)[0]
	v := Tunnel{ID: "t1", DeviceID: d.ID, Operator: "ada", TokenID: "j", State: "requested", RequestedAt: noon}
	a := Record{At: noon.Add(1), DeviceID: "d", TunnelID: "t", Actor: "a", Kind: "k", Result: Failed, Reason: "r", Detail: "x"}
	if err := s.AddTunnel(ctx, v, noon, a); err != nil {
		t.Fatal(err)
	}
	if _, err := s.EndTunnel(ctx, "t1", "why", noon, 0, 0, nil, a); err != nil {
		t.Fatal(err)
	}
	lines, err := s.Records(ctx, RecordQuery{Scope: everything, DeviceID: "d"})
	second, first := a, a
	second.Seq, first.Seq = 3, 2
	if diff := cmp.Diff([]Record{second, first}, lines, noHash); diff != "" || err != nil {
		t.Errorf("activity: %v (-want +got):\n%s", err, diff)
	}
}

func TestAddTunnelRefused(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	devices := addDevices(t, s, 2)
	ip := netip.MustParseAddr("10.255.0.2")
	good := Tunnel{ID: "t2", DeviceID: devices[1].ID, TokenID: "jti-t2", State: "requested", VirtualIP: netip.MustParseAddr("10.255.0.3")}
	with := func(change func(*Tunnel)) Tunnel {
		v := good
		change(&v)
		return v
	}
	devices[0].VirtualIP = ip
	addTunnel(t, s, "t1", devices[0])
	before := kinds(t, s)
	tests := []struct {
		name   string
		tunnel Tunnel
		want   error
	}{
		{"device has one", with(func(v *Tunnel) { v.DeviceID = devices[0].ID }), ErrConflict},
		{"address in use", with(func(v *Tunnel) { v.VirtualIP = ip }), ErrConflict},
		{"same id", with(func(v *Tunnel) { v.ID = "t1" }), ErrConflict},
		{"same token", with(func(v *Tunnel) { v.TokenID = "jti-t1" }), ErrConflict},
		{"unknown device", with(func(v *Tunnel) { v.DeviceID = "none" }), ErrNotFound},
		{"no id", with(func(v *Tunnel) { v.ID = "" }), nil},
		{"no device", with(func(v *Tunnel) { v.DeviceID = "" }), nil},
		{"no token", with(func(v *Tunnel) { v.TokenID = "" }), nil},
		{"no state", with(func(v *Tunnel) { v.State = "" }), nil},
		{"ended", with(func(v *Tunnel) { v.State = "ended" }), nil},
		{"IPv6", with(func(v *Tunnel) { v.VirtualIP = netip.MustParseAddr("fd00::2") }), nil},
	}
	for _, test := range tests {
		err := s.AddTunnel(ctx, test.tunnel, noon.Add(time.Hour), Record{})
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", test.name, err, test.want)
		}
	}
	if after := kinds(t, s); after != before {
		t.Errorf("activity %q, want %q", after, before)
	}
	if err := s.RedeemToken(ctx, "jti-t2", noon); !errors.Is(err, ErrTokenUsed) {
		t.Errorf("token of a refused tunnel: error %v, want ErrTokenUsed", err)
	}
	if err := s.AddTunnel(ctx, good, noon.Add(time.Hour), Record{}); err != nil {
		t.Errorf("the good one: %v", err)
	}
	if _, err := s.EndTunnel(ctx, "t1", "operator_left", noon, 0, 0, nil, Record{}); err != nil {
		t.Fatal(err)
	}
	addTunnel(t, s, "t3", devices[0]) // the slot and the address are free again
}

func TestTunnelUnknown(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	if _, err := s.Tunnel(ctx, "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("get: error %v, want ErrNotFound", err)
	}
	if err := s.SaveTunnel(ctx, "none", "up", noon, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("save: error %v, want ErrNotFound", err)
	}
	if ended, err := s.EndTunnel(ctx, "none", "r", noon, 0, 0, nil, Record{}); ended || !errors.Is(err, ErrNotFound) {
		t.Errorf("end: %v, error %v, want ErrNotFound", ended, err)
	}
	for _, state := range []string{"", "ended"} {
		if err := s.SaveTunnel(ctx, "none", state, noon, nil); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("save with state %q: error %v", state, err)
		}
	}
	if all, err := s.Tunnels(ctx, "none", 0); len(all) != 0 || err != nil {
		t.Errorf("list: %v, %v", all, err)
	}
	if all, err := s.EndOpenTunnels(ctx, "engine_restart", noon); len(all) != 0 || err != nil {
		t.Errorf("end open ones: %v, %v", all, err)
	}
}

func TestTunnels(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	devices := addDevices(t, s, 2)
	addTunnel(t, s, "other", devices[1])
	for i := range 5 {
		v := Tunnel{
			ID: fmt.Sprint("t", i), DeviceID: devices[0].ID, TokenID: fmt.Sprint("j", i), State: "requested",
			RequestedAt: noon.Add(time.Duration(i) * time.Minute),
		}
		if err := s.AddTunnel(ctx, v, noon, Record{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.EndTunnel(ctx, v.ID, "operator_left", noon, 0, 0, nil, Record{}); err != nil {
			t.Fatal(err)
		}
	}
	for limit, want := range map[int]string{0: "t4 t3 t2 t1 t0", 2: "t4 t3"} {
		all, err := s.Tunnels(ctx, devices[0].ID, limit)
		var ids []string
		for _, v := range all {
			ids = append(ids, v.ID)
			if v.Steps != nil {
				t.Errorf("steps of %s are %v, want nil", v.ID, v.Steps)
			}
		}
		if got := strings.Join(ids, " "); got != want || err != nil {
			t.Errorf("limit %d: %q, %v, want %q", limit, got, err, want)
		}
	}
}

func TestRedeemToken(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	devices := addDevices(t, s, 3)
	for i, id := range []string{"good", "late", "void"} {
		addTunnel(t, s, id, devices[i])
	}
	if _, err := s.EndTunnel(ctx, "void", "operator_left", noon, 0, 0, nil, Record{}); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name, jti string
		now       time.Time
		want      error
	}{
		{"unknown", "jti-none", noon, ErrTokenUsed},
		{"empty", "", noon, ErrTokenUsed},
		{"expired", "jti-late", noon.Add(2 * time.Minute), ErrTokenUsed},
		{"last moment", "jti-late", noon.Add(2*time.Minute - 1), nil},
		{"void", "jti-void", noon, ErrTokenUsed},
		{"good", "jti-good", noon, nil},
		{"again", "jti-good", noon, ErrTokenUsed},
	}
	for _, step := range steps {
		if err := s.RedeemToken(ctx, step.jti, step.now); !errors.Is(err, step.want) {
			t.Errorf("%s: error %v, want %v", step.name, err, step.want)
		}
	}
	if _, err := s.EndTunnel(ctx, "good", "operator_left", noon, 0, 0, nil, Record{}); err != nil {
		t.Errorf("end a tunnel whose token was used: %v", err)
	}
	if err := s.RedeemToken(ctx, "jti-good", noon); !errors.Is(err, ErrTokenUsed) {
		t.Errorf("used token of an ended tunnel: error %v, want ErrTokenUsed", err)
	}
}

func TestRedeemTokenAtOnce(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	addTunnel(t, s, "t1", addDevices(t, s, 1)[0])
	errs := atOnce(100, func(int) error { return s.RedeemToken(t.Context(), "jti-t1", noon) })
	if n := count(t, errs, ErrTokenUsed); n != 1 {
		t.Errorf("%d of 100 redeemed the token, want 1", n)
	}
}

func TestAddTunnelAtOnce(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	d := addDevices(t, s, 1)[0]
	errs := atOnce(50, func(i int) error {
		v := Tunnel{ID: fmt.Sprint("t", i), DeviceID: d.ID, TokenID: fmt.Sprint("j", i), State: "requested"}
		return s.AddTunnel(t.Context(), v, noon, Record{})
	})
	if n := count(t, errs, ErrConflict); n != 1 {
		t.Errorf("%d of 50 tunnels were added, want 1", n)
	}
	if n := strings.Count(kinds(t, s), "tunnel_requested"); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

func TestEndTunnelAtOnce(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	addTunnel(t, s, "t1", addDevices(t, s, 1)[0])
	ended := make([]bool, 50)
	errs := atOnce(len(ended), func(i int) (err error) {
		ended[i], err = s.EndTunnel(t.Context(), "t1", fmt.Sprint("reason ", i), noon, int64(i), 0, nil, Record{})
		return err
	})
	count(t, errs, nil)
	winner := -1
	for i, first := range ended {
		if first && winner >= 0 {
			t.Errorf("calls %d and %d both ended the tunnel", winner, i)
		}
		if first {
			winner = i
		}
	}
	got, err := s.Tunnel(t.Context(), "t1")
	if err != nil || got.Reason != fmt.Sprint("reason ", winner) || got.ReceivedBytes != int64(winner) {
		t.Errorf("call %d ended the tunnel, but it is %+v, %v", winner, got, err)
	}
	if n := strings.Count(kinds(t, s), "tunnel_down"); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

func TestEndOpenTunnels(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	devices := addDevices(t, s, 3)
	over := addTunnel(t, s, "over", devices[0])
	if _, err := s.EndTunnel(ctx, "over", "operator_left", noon, 0, 0, nil, Record{}); err != nil {
		t.Fatal(err)
	}
	want := []Tunnel{addTunnel(t, s, "a", devices[1]), addTunnel(t, s, "b", devices[2])}
	if err := s.SaveTunnel(ctx, "b", "up", noon, nil); err != nil {
		t.Fatal(err)
	}
	want[1].UpAt = noon
	at := noon.Add(time.Hour)
	for i := range want {
		want[i].State, want[i].Reason, want[i].EndedAt = "ended", "engine_restart", at
		want[i].Steps = append(want[i].Steps, Step{Name: "ended", At: at, Detail: "engine_restart"})
	}
	got, err := s.EndOpenTunnels(ctx, "engine_restart", at)
	if diff := cmp.Diff(want, got, cmpAddr); diff != "" || err != nil {
		t.Errorf("ended: %v (-want +got):\n%s", err, diff)
	}
	for _, v := range want {
		stored, err := s.Tunnel(ctx, v.ID)
		if diff := cmp.Diff(v, stored, cmpAddr); diff != "" || err != nil {
			t.Errorf("stored: %v (-want +got):\n%s", err, diff)
		}
		if err := s.RedeemToken(ctx, v.TokenID, noon); !errors.Is(err, ErrTokenUsed) {
			t.Errorf("token of %s: error %v, want ErrTokenUsed", v.ID, err)
		}
		lines, err := s.Records(ctx, RecordQuery{Scope: everything, DeviceID: v.DeviceID, Limit: 1})
		if err != nil || lines[0].Kind != "tunnel_down" || lines[0].Reason != "engine_restart" || lines[0].TunnelID != v.ID || !lines[0].At.Equal(at) {
			t.Errorf("activity of %s: %+v, %v", v.ID, lines, err)
		}
	}
	if got, err := s.Tunnel(ctx, over.ID); err != nil || got.Reason != "operator_left" {
		t.Errorf("the one that was over: %+v, %v", got, err)
	}
	if again, err := s.EndOpenTunnels(ctx, "engine_restart", at); len(again) != 0 || err != nil {
		t.Errorf("second time: %v, %v", again, err)
	}
}

func TestOpenTunnels(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	devices := addDevices(t, s, 3)
	want := make(map[string]time.Time)
	for i, id := range []string{"over", "a", "b"} {
		want[id] = addTunnel(t, s, id, devices[i]).RequestedAt
	}
	if _, err := s.EndTunnel(ctx, "over", "operator_left", noon, 0, 0, nil, Record{}); err != nil {
		t.Fatal(err)
	}
	delete(want, "over")
	got, err := s.OpenTunnels(ctx)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("open: %v (-want +got):\n%s", err, diff)
	}
	err = s.read(ctx, func(conn *sqlite.Conn) error {
		statement, err := statements.ReadFile("sql/tunnel_list_open_id.sql")
		if err != nil {
			return err
		}
		rows(t, conn, "EXPLAIN QUERY PLAN "+strings.TrimSuffix(strings.TrimSpace(string(statement)), ";"), func(stmt *sqlite.Stmt) {
			if got := stmt.GetText("detail"); !strings.Contains(got, "INDEX tunnel_open_") {
				t.Errorf("plan %q: want an index of what is open", got)
			}
		})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
