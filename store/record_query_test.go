package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// twoSites is a store with a device in Berlin and one in Oslo and lines about them.
func twoSites(t *testing.T) (s *Store, berlin, oslo Device) {
	t.Helper()
	s = openTest(t)
	addCode(t, s, "berlin", Code{Site: "Berlin"}) // line 1
	addCode(t, s, "oslo", Code{Site: "Oslo"})
	for _, d := range []struct {
		into *Device
		site string
		n    int
	}{{&berlin, "berlin", 1}, {&oslo, "oslo", 2}} {
		var err error
		*d.into, err = s.RedeemCode(t.Context(), hash(d.site), Device{Hostname: "PC-" + d.site, Pin: pin(d.n)}, noon, Record{})
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	addRecords(t, s,
		Record{At: at(5), Actor: "ada", Kind: "tunnel_requested", DeviceID: berlin.ID, TunnelID: "t1"},
		Record{At: at(6), Actor: "ada", Kind: "tunnel_up", DeviceID: berlin.ID, TunnelID: "t1", Detail: "10.0.0.2"},
		Record{At: at(7), Actor: "zoe", Kind: "tunnel_requested", DeviceID: oslo.ID, TunnelID: "t2"},
		Record{At: at(8), Actor: "ada", Kind: "tunnel_down", DeviceID: berlin.ID, TunnelID: "t1", Reason: "idle_timeout"},
		Record{At: at(9), Actor: "zoe", Kind: "tunnel_down", DeviceID: oslo.ID, TunnelID: "t2", Reason: "operator_left", Result: Failed},
		Record{At: at(10), Actor: "eve", Source: "192.0.2.9", Kind: "sign_in_failed", Target: "100%", Result: Refused},
		Record{At: at(11), Actor: "ada", Kind: "agent_offline", DeviceID: "a device that is no more"},
	) // lines 5 to 11
	return s, berlin, oslo
}

func TestRecordQuery(t *testing.T) {
	t.Parallel()
	s, berlin, oslo := twoSites(t)
	none := []int64{}
	tests := []struct {
		name  string
		query RecordQuery
		want  []int64
	}{
		{"nobody's", RecordQuery{}, none},
		{"nobody's, of a device", RecordQuery{DeviceID: berlin.ID}, none},
		{"of no site", RecordQuery{Scope: Scope{Sites: []string{"Rome"}}}, none},
		{"of the empty site", RecordQuery{Scope: Scope{Sites: []string{""}}}, none},
		{"of one site", RecordQuery{Scope: Scope{Sites: []string{"Oslo"}}}, []int64{9, 7, 4}},
		{"of two sites", RecordQuery{Scope: Scope{Sites: []string{"Oslo", "Berlin"}}}, []int64{9, 8, 7, 6, 5, 4, 3}},
		{"of a device at another site", RecordQuery{Scope: Scope{Sites: []string{"Oslo"}}, DeviceID: berlin.ID}, none},
		{"of a tunnel at another site", RecordQuery{Scope: Scope{Sites: []string{"Oslo"}}, TunnelID: "t1"}, none},
		{"all", RecordQuery{Scope: everything}, []int64{11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1}},
		{"everything and a site", RecordQuery{Scope: Scope{All: true, Sites: []string{"Oslo"}}, After: 10}, []int64{11}},
		{"newest", RecordQuery{Scope: everything, Limit: 2}, []int64{11, 10}},
		{"next page", RecordQuery{Scope: everything, Limit: 2, Before: 10}, []int64{9, 8}},
		{"after", RecordQuery{Scope: everything, After: 9}, []int64{11, 10}},
		{"between", RecordQuery{Scope: everything, After: 5, Before: 8}, []int64{7, 6}},
		{"before the first", RecordQuery{Scope: everything, Before: 1}, none},
		{"of a device", RecordQuery{Scope: everything, DeviceID: oslo.ID}, []int64{9, 7, 4}},
		{"of a device, page", RecordQuery{Scope: everything, DeviceID: oslo.ID, Before: 9, Limit: 1}, []int64{7}},
		{"of a tunnel", RecordQuery{Scope: everything, TunnelID: "t1"}, []int64{8, 6, 5}},
		{"of devices", RecordQuery{Scope: everything, DevicesOnly: true}, []int64{11, 9, 8, 7, 6, 5, 4, 3}},
		{"quiet", RecordQuery{Scope: everything, Quiet: true}, []int64{11, 10, 7, 5, 4, 3, 2, 1}},
		{"quiet, of a device", RecordQuery{Scope: everything, Quiet: true, DeviceID: berlin.ID}, []int64{5, 3}},
		{"of an actor", RecordQuery{Scope: everything, Actor: "ada"}, []int64{11, 8, 6, 5}},
		{"not part of a name", RecordQuery{Scope: everything, Actor: "ad"}, none},
		{"of a kind", RecordQuery{Scope: everything, Kind: "tunnel_down"}, []int64{9, 8}},
		{"of a kind and an actor", RecordQuery{Scope: everything, Kind: "tunnel_down", Actor: "ada"}, []int64{8}},
		{"refused", RecordQuery{Scope: everything, Result: Refused}, []int64{10}},
		{"failed", RecordQuery{Scope: everything, Result: Failed}, []int64{9}},
		{"from", RecordQuery{Scope: everything, From: noon.Add(10 * time.Minute)}, []int64{11, 10}},
		{"until", RecordQuery{Scope: everything, To: noon.Add(6 * time.Minute), After: 4}, []int64{5}},
		{"in a minute", RecordQuery{Scope: everything, From: noon.Add(6 * time.Minute), To: noon.Add(7 * time.Minute)}, []int64{6}},
		{"text of a detail", RecordQuery{Scope: everything, Text: "10.0.0"}, []int64{6}},
		{"text of a reason", RecordQuery{Scope: everything, Text: " Operator_LEFT "}, []int64{9}},
		{"text of a host name", RecordQuery{Scope: everything, Text: "pc-oslo"}, []int64{9, 7, 4}},
		{"text of a source", RecordQuery{Scope: everything, Text: "192.0.2"}, []int64{10}},
		{"no wildcards", RecordQuery{Scope: everything, Text: "1%"}, none},
		{"no wildcards either", RecordQuery{Scope: everything, Text: "100%"}, []int64{10}},
		{"quotes", RecordQuery{Scope: everything, Text: "' OR '1'='1"}, none},
	}
	for _, test := range tests {
		lines, err := s.Records(t.Context(), test.query)
		got := []int64{}
		for _, r := range lines {
			got = append(got, r.Seq)
		}
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", test.name, err, diff)
		}
		limited := test.query.Limit > 0
		test.query.Limit = 0
		if n, err := s.CountRecords(t.Context(), test.query); !limited && n != len(test.want) || err != nil {
			t.Errorf("%s: counted %d, %v, want %d", test.name, n, err, len(test.want))
		}
	}
	got, err := s.Kinds(t.Context())
	want := []string{"agent_offline", "code_created", "device_enrolled", "sign_in_failed", "tunnel_down", "tunnel_requested", "tunnel_up"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("kinds: %v (-want +got):\n%s", err, diff)
	}
	if got, err := openTest(t).Kinds(t.Context()); len(got) != 0 || err != nil {
		t.Errorf("kinds of nothing: %q, %v", got, err)
	}
}

func TestTunnelRecords(t *testing.T) {
	t.Parallel()
	s, _, _ := twoSites(t)
	got, err := s.TunnelRecords(t.Context(), []string{"t1", "none", "t2"})
	seqs := make(map[string][]int64)
	for id, lines := range got {
		for _, r := range lines {
			seqs[id] = append(seqs[id], r.Seq)
		}
	}
	if diff := cmp.Diff(map[string][]int64{"t1": {5, 6, 8}, "t2": {7, 9}}, seqs); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got["t1"][0].Hostname != "PC-berlin" {
		t.Errorf("line %+v", got["t1"][0])
	}
	for _, ids := range [][]string{nil, {"none"}, {""}} {
		if got, err := s.TunnelRecords(t.Context(), ids); len(got) != 0 || err != nil {
			t.Errorf("%q: %v, %v", ids, got, err)
		}
	}
}

func TestScopeOfDevices(t *testing.T) {
	t.Parallel()
	s, berlin, oslo := twoSites(t)
	for name, test := range map[string]struct {
		query DeviceQuery
		want  []string
	}{
		"nobody's":           {DeviceQuery{}, nil},
		"nobody's, by id":    {DeviceQuery{Text: berlin.ID}, nil},
		"one site":           {DeviceQuery{Scope: Scope{Sites: []string{"Oslo"}}}, []string{oslo.ID}},
		"another one, by id": {DeviceQuery{Scope: Scope{Sites: []string{"Oslo"}}, Text: berlin.ID}, nil},
		"two":                {DeviceQuery{Scope: Scope{Sites: []string{"Oslo", "Berlin"}}}, []string{berlin.ID, oslo.ID}},
		"everything":         {DeviceQuery{Scope: everything}, []string{berlin.ID, oslo.ID}},
		"pending":            {DeviceQuery{Scope: everything, State: Pending}, []string{berlin.ID, oslo.ID}},
		"active":             {DeviceQuery{Scope: everything, State: Active}, nil},
	} {
		devices, total, err := s.Devices(t.Context(), test.query)
		var got []string
		for _, d := range devices {
			got = append(got, d.ID)
		}
		if diff := cmp.Diff(test.want, got); diff != "" || total != len(test.want) || err != nil {
			t.Errorf("%s: %d, %v (-want +got):\n%s", name, total, err, diff)
		}
	}
	if got, err := s.Sites(t.Context()); !slices.Equal(got, []string{"Berlin", "Oslo"}) || err != nil {
		t.Errorf("sites %q, %v", got, err)
	}
	if got, err := openTest(t).Sites(t.Context()); len(got) != 0 || err != nil {
		t.Errorf("sites of nothing: %q, %v", got, err)
	}
	if (Scope{}).Has("Oslo") || (Scope{}).Has("") || !(Scope{Sites: []string{"Oslo"}}).Has("Oslo") || !everything.Has("") {
		t.Error("a scope has the wrong sites")
	}
}

// TestRecordPlans makes sure that the usual pages are found by an index, in order,
// however long the chain is.
func TestRecordPlans(t *testing.T) {
	t.Parallel()
	conn := openRaw(t, openTest(t).path(t))
	for name, test := range map[string]struct {
		query RecordQuery
		want  string
	}{
		"newest":           {RecordQuery{Scope: everything}, "SCAN audit"},
		"quiet":            {RecordQuery{Scope: everything, Quiet: true}, "SCAN audit"},
		"of a site":        {RecordQuery{Scope: Scope{Sites: []string{"x"}}}, "SCAN audit"},
		"next page":        {RecordQuery{Scope: everything, Before: 9}, "SEARCH audit USING INTEGER PRIMARY KEY (rowid<?)"},
		"of a device":      {RecordQuery{Scope: everything, DeviceID: "x"}, "audit_device (device_id=?)"},
		"of a device, on":  {RecordQuery{Scope: everything, DeviceID: "x", Before: 9}, "audit_device (device_id=? AND rowid<?)"},
		"of a tunnel":      {RecordQuery{Scope: everything, TunnelID: "x"}, "audit_tunnel (tunnel_id=?)"},
		"of a kind":        {RecordQuery{Scope: everything, Kind: "x"}, "audit_kind (kind=?)"},
		"of a kind, on":    {RecordQuery{Scope: everything, Kind: "x", Before: 9}, "audit_kind (kind=? AND rowid<?)"},
		"of an actor":      {RecordQuery{Scope: everything, Actor: "x"}, "audit_actor (actor=?)"},
		"quiet, of device": {RecordQuery{Scope: everything, Quiet: true, DeviceID: "x"}, "audit_device (device_id=?)"},
	} {
		statement, err := statements.ReadFile("sql/record_list.sql")
		if err != nil {
			t.Fatal(err)
		}
		args := test.query.args()
		args[":limit"] = 100
		var plan []string
		err = sqlitex.ExecuteTransient(conn, "EXPLAIN QUERY PLAN "+chosen(withoutComment(string(statement)), args), &sqlitex.ExecOptions{
			Named: args,
			ResultFunc: func(stmt *sqlite.Stmt) error {
				plan = append(plan, stmt.GetText("detail"))
				return nil
			},
		})
		if all := strings.Join(plan, "\n"); err != nil || !strings.Contains(plan[0], test.want) || strings.Contains(all, "TEMP B-TREE FOR ORDER") {
			t.Errorf("%s: %v, plan\n%s\nwant %s and no sorting", name, err, all, test.want)
		}
	}
}

func withoutComment(statement string) string {
	if rest, ok := strings.CutPrefix(statement, "--"); ok {
		_, statement, _ = strings.Cut(rest, "\n")
	}
	return statement
}

func TestChosen(t *testing.T) {
	t.Parallel()
	const statement = "SELECT 1\nWHERE true\n  AND a = :a\n  AND b = :b AND c = :c\nLIMIT :n"
	for want, args := range map[string][]string{
		"SELECT 1\nWHERE true\nLIMIT :n":                                        {":n"},
		"SELECT 1\nWHERE true\n  AND a = :a\nLIMIT :n":                          {":n", ":a", ":b"},
		"SELECT 1\nWHERE true\n  AND b = :b AND c = :c\nLIMIT :n":               {":n", ":c", ":b"},
		"SELECT 1\nWHERE true\n  AND a = :a\n  AND b = :b AND c = :c\nLIMIT :n": {":n", ":a", ":c", ":b"},
	} {
		given := maps.Collect(func(yield func(string, any) bool) {
			for _, name := range args {
				if !yield(name, 1) {
					return
				}
			}
		})
		if got := chosen(statement, given); got != want {
			t.Errorf("%v: %q, want %q", args, got, want)
		}
	}
}

// fillChain appends n lines of 200 devices that have 10 of them for each tunnel.
func fillChain(t testing.TB, s *Store, n int) {
	t.Helper()
	devices := addDevices(t, s, 200)
	kinds := []string{
		"tunnel_requested", "tunnel_up", "operator_joined", "terminal_opened", "terminal_closed", "ports_changed", "operator_left",
		"agent_offline", "agent_online", "tunnel_down",
	}
	const step = 50_000
	for from := 0; from < n; from += step {
		err := s.write(t.Context(), func(conn *sqlite.Conn) error {
			for i := from; i < min(n, from+step); i++ {
				err := record(conn, Record{
					At: noon.Add(time.Duration(i) * time.Second), Actor: fmt.Sprint("operator-", i%37), Session: "01939f1e-8f3b-7c55-a2f0-0123456789ab",
					Source: "192.0.2.17", Kind: kinds[i%len(kinds)], DeviceID: devices[i/10%200].ID, TunnelID: fmt.Sprint("tunnel-", i/10),
					Detail: "something that happened, said in a few words",
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
