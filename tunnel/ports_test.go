package tunnel

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/acl"
	"borealis/store"
)

func TestSetPortsRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device(t, "PC")
	ctx := t.Context()
	now := time.Now()
	grafana := custom(acl.TCP, 8443, 8443, true)
	grafana.Label, grafana.Until, grafana.Reason = "Grafana", now.Add(30*time.Minute), "patch day"
	if _, err := r.SetPorts(ctx, "no-such-device", 0, nil, store.Actor{Name: "nora"}); !errors.Is(err, ErrUnknownDevice) {
		t.Errorf("unknown device: %v", err)
	}
	if _, err := r.Ports(ctx, "no-such-device"); !errors.Is(err, ErrUnknownDevice) {
		t.Errorf("unknown device: %v", err)
	}
	first, err := r.SetPorts(ctx, d.ID, 0, []acl.Override{service("ssh", false), grafana}, store.Actor{Name: "nora"})
	if err != nil || first.Policy.Revision != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	past := custom(acl.UDP, 9000, 9000, true)
	past.Until = now.Add(-time.Minute)
	for name, c := range map[string]struct {
		overrides []acl.Override
		index     int
		field     string
	}{
		"port 0":        {[]acl.Override{custom(acl.TCP, 0, 10, true)}, 0, "port"},
		"reversed":      {[]acl.Override{custom(acl.TCP, 10, 1, true)}, 0, "port"},
		"twice":         {[]acl.Override{grafana, grafana}, 1, "port"},
		"past":          {[]acl.Override{grafana, past}, 1, "until"},
		"of a service":  {[]acl.Override{custom(acl.TCP, 3389, 3389, true)}, 0, "port"},
		"odd label":     {[]acl.Override{{Port: acl.Port{Protocol: acl.TCP, From: 1, To: 1}, Label: "a\x1b[31m"}}, 0, "label"},
		"no protocol":   {[]acl.Override{custom("sctp", 1, 1, true)}, 0, "port"},
		"no service":    {[]acl.Override{service("gopher", true)}, 0, "service"},
		"65 ports":      {manyPorts(65), 64, "port"},
		"service again": {[]acl.Override{service("ssh", true), service("ssh", false)}, 1, "service"},
	} {
		var invalid *acl.InvalidError
		_, err := r.SetPorts(ctx, d.ID, 1, c.overrides, store.Actor{Name: "nora"})
		if !errors.As(err, &invalid) || invalid.Index != c.index || invalid.Field != c.field {
			t.Errorf("%s: %v (%+v)", name, err, invalid)
		}
	}
	var stale *RevisionError
	_, err = r.SetPorts(ctx, d.ID, 0, []acl.Override{service("ssh", true)}, store.Actor{Name: "jon"})
	if !errors.As(err, &stale) || stale.Have.Revision != 1 || len(stale.Have.Overrides) != 2 {
		t.Errorf("stale revision: %v, %+v", err, stale)
	}
	have, err := r.Ports(ctx, d.ID)
	if diff := cmp.Diff(first.Policy, have.Policy); diff != "" || err != nil {
		t.Errorf("after the refusals: %v (-want +got):\n%s", err, diff)
	}
	wantActivity(t, r, d.ID, "device_enrolled", "ports_changed")
}

func manyPorts(n int) (all []acl.Override) {
	for i := range n {
		all = append(all, custom(acl.TCP, uint16(10000+i), uint16(10000+i), true))
	}
	return all
}

// TestWhoDecidedAndWhen keeps that for what stays the same, and tells no device
// without overrides from one that has everything off.
func TestWhoDecidedAndWhen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device(t, "PC")
	ctx := t.Context()
	until := time.Now().Add(time.Hour)
	grafana := custom(acl.TCP, 8443, 8443, true)
	grafana.Label, grafana.Until = "Grafana", until
	first, err := r.SetPorts(ctx, d.ID, 0, []acl.Override{service("ssh", false), grafana}, store.Actor{Name: "nora"})
	if err != nil {
		t.Fatal(err)
	}
	grafana.Until = first.Policy.Overrides[0].Until // as a page sends it back
	renamed := grafana
	renamed.Label = "Metrics"
	second, err := r.SetPorts(ctx, d.ID, 1, []acl.Override{service("ssh", false), renamed, service("vnc", false)}, store.Actor{Name: "jon"})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"jon", "nora", "jon"} { // the port, ssh, vnc
		if got := second.Policy.Overrides[i]; got.By != want || got.At.IsZero() {
			t.Errorf("override %d is by %q at %v, want %q", i, got.By, got.At, want)
		}
	}
	if a, b := first.Policy.Overrides[1].At, second.Policy.Overrides[1].At; !a.Equal(b) {
		t.Errorf("when ssh was closed changed from %v to %v", a, b)
	}
	same, err := r.SetPorts(ctx, d.ID, 2, []acl.Override{service("ssh", false), renamed, service("vnc", false)}, store.Actor{Name: "eve"})
	if err != nil || same.Policy.Revision != 2 || same.Policy.Overrides[0].By != "jon" {
		t.Errorf("the same again: %+v, %v", same, err)
	}

	var off []acl.Override
	for _, s := range acl.Services() {
		off = append(off, service(s.ID, false))
	}
	all, err := r.SetPorts(ctx, d.ID, 2, off, store.Actor{Name: "nora"})
	if err != nil || len(all.Policy.Allowed(time.Now())) != 0 || !all.Policy.Overridden(time.Now()) {
		t.Errorf("all off: %+v, %v", all, err)
	}
	if st, err := r.Status(ctx, d.ID); err != nil || len(st.AllowedPorts) != 0 {
		t.Errorf("all off: status %+v, %v", st.AllowedPorts, err)
	}
	reset, err := r.SetPorts(ctx, d.ID, 3, nil, store.Actor{Name: "nora"})
	if err != nil || reset.Policy.Overridden(time.Now()) || !slices.Equal(reset.Policy.Allowed(time.Now()), acl.Defaults("linux")) {
		t.Errorf("reset: %+v, %v", reset, err)
	}
	lines, err := r.store.Records(ctx, store.RecordQuery{Scope: store.Scope{All: true}, DeviceID: d.ID, Limit: 4})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"reset to the defaults",
		"PowerShell closed; RDP closed; WebRTC closed; WinRM closed; WinRM (TLS) closed; 8443/tcp (Metrics) removed",
		"8443/tcp (Metrics) allowed until " + until.UTC().Format("15:04 UTC") + "; VNC closed",
		"8443/tcp (Grafana) allowed until " + until.UTC().Format("15:04 UTC") + "; SSH closed",
	}
	for i, a := range lines {
		if a.Detail != want[i] || a.Actor == "" {
			t.Errorf("line %d: %q by %q, want %q", i, a.Detail, a.Actor, want[i])
		}
	}
}

func TestDetailIsBounded(t *testing.T) {
	t.Parallel()
	many := manyPorts(64)
	for i := range many {
		many[i].Reason = strings.Repeat("ü", acl.MaxReason)
	}
	got := describe(acl.Policy{}, acl.Policy{Overrides: many}, time.Now())
	if len(got) > maxDetail || len(got) < maxDetail-8 || !strings.HasSuffix(got, "ü …") {
		t.Errorf("%d bytes, ending in %q", len(got), got[len(got)-10:])
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	rdp, web := service("rdp", false), custom(acl.TCP, 8443, 8443, true)
	web.Label = "Grafana"
	soon, later, renamed := web, web, web
	soon.Until, soon.Reason = now.Add(30*time.Minute), "patch day"
	later.Until = now.Add(36 * time.Hour)
	renamed.Label = "Metrics"
	for name, c := range map[string]struct {
		old, wanted []acl.Override
		want        string
	}{
		"nothing":            {nil, nil, ""},
		"the same":           {[]acl.Override{rdp, web}, []acl.Override{web, rdp}, ""},
		"closed and allowed": {nil, []acl.Override{rdp, soon}, "RDP closed; 8443/tcp (Grafana) allowed until 14:30 UTC: patch day"},
		"another day":        {[]acl.Override{web}, []acl.Override{later}, "8443/tcp (Grafana) allowed until 2026-11-24 02:00 UTC"},
		"another name":       {[]acl.Override{web}, []acl.Override{renamed}, "8443/tcp (Metrics) allowed"},
		"one service less":   {[]acl.Override{rdp, web}, []acl.Override{web}, "RDP as by default"},
		"one port less":      {[]acl.Override{rdp, web}, []acl.Override{rdp}, "8443/tcp (Grafana) removed"},
		"reset":              {[]acl.Override{rdp, web}, nil, "reset to the defaults"},
	} {
		if got := describe(acl.Policy{Overrides: c.old}, acl.Policy{Overrides: c.wanted}, now); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
