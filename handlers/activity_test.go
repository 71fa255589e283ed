package handlers

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"borealis/handlers/access"
	"borealis/store"
)

// contextWithStop is a context that the test ends by itself.
func contextWithStop(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(t.Context())
}

// session records a tunnel of a device from beginning to end.
func (r *rig) tunnelStory(d store.Device, id, actor string) {
	r.t.Helper()
	ctx, start := r.t.Context(), time.Now().Add(-time.Hour)
	v := store.Tunnel{ID: id, DeviceID: d.ID, Operator: actor, TokenID: "jti-" + id, VirtualIP: netip.MustParseAddr("10.255.0.9"), State: "requested", RequestedAt: start}
	if err := r.store.AddTunnel(ctx, v, start.Add(time.Minute), store.Record{Actor: actor}); err != nil {
		r.t.Fatal(err)
	}
	for i, kind := range []string{"tunnel_up", "terminal_opened", "operator_joined", "terminal_closed"} {
		r.record(store.Record{At: start.Add(time.Duration(i) * time.Minute), DeviceID: d.ID, TunnelID: id, Actor: actor, Kind: kind, Target: "t-" + kind})
	}
	if _, err := r.store.EndTunnel(ctx, id, "idle_timeout", start.Add(12*time.Minute), 0, 0, nil, store.Record{}); err != nil {
		r.t.Fatal(err)
	}
}

// TestActivityIsQuiet: a tunnel is one entry with its steps inside, over all devices,
// in a device's tab and in its summary; the API has every line.
func TestActivityIsQuiet(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("kiosk-7", store.Active)
	r.tunnelStory(d, "tunnel-1", "nora")
	c := r.browser("vic", access.Viewer)
	for _, path := range []string{"/activity", "/devices/" + d.ID + "/activity", "/devices/" + d.ID + "/summary"} {
		body := strings.Join(strings.Fields(c.do(http.MethodGet, path, "").body), " ")
		for text, want := range map[string]int{
			`<details class="session">`: 1, "<b>nora</b> used kiosk-7 for 12 min": 1, "nobody used it for the whole idle time": 2, `class="steps-of"`: 1,
			"opened terminal": 1, "asked for the tunnel": 1,
		} {
			if got := strings.Count(body, text); got != want && !(path != "/activity" && strings.Contains(text, "nobody used it") && got > want) {
				t.Errorf("%s: %d times %q, want %d", path, got, text, want)
			}
		}
	}
	var flat activityAnswer
	c.do(http.MethodGet, "/api/activity?device_id="+d.ID, "").into(t, &flat)
	var kinds []string
	for _, line := range flat.Activity {
		kinds = append(kinds, line.Kind)
		if line.Result != store.Done || line.ID == 0 || strings.HasPrefix(line.Kind, "terminal") && line.Target != "t-"+line.Kind {
			t.Errorf("%+v", line)
		}
	}
	want := []string{"tunnel_down", "terminal_closed", "operator_joined", "terminal_opened", "tunnel_up", "tunnel_requested"}
	if len(kinds) < 6 || !slices.Equal(kinds[:6], want) {
		t.Errorf("the API has %v", kinds)
	}
}

// TestActivityPaging: what is counted on a page are entries and not lines, and going on
// leaves nothing out.
func TestActivityPaging(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("kiosk-7", store.Active)
	for i := range eventsPerPage {
		r.record(store.Record{DeviceID: d.ID, Kind: "agent_online"})
		if i%10 == 0 {
			r.tunnelStory(d, "tunnel-"+string(rune('a'+i/10)), "nora")
		}
	}
	c := r.browser("vic", access.Viewer)
	events, older, err := r.eventsView(t.Context(), d.ID, 0, eventsPerPage)
	if err != nil || len(events) != eventsPerPage || older != events[eventsPerPage-1].ID {
		t.Fatalf("%d events, older %d, %v", len(events), older, err)
	}
	rest, none, err := r.eventsView(t.Context(), d.ID, older, eventsPerPage)
	if err != nil || none != 0 || len(rest) < 5 {
		t.Errorf("%d events, older %d, %v", len(rest), none, err)
	}
	sessions := 0
	for _, e := range append(events, rest...) {
		if len(e.Steps) > 0 {
			sessions++
			if len(e.Steps) != 6 {
				t.Errorf("%d steps", len(e.Steps))
			}
		}
	}
	if sessions != 5 {
		t.Errorf("%d sessions", sessions)
	}
	if body := c.do(http.MethodGet, "/activity", "").body; strings.Count(body, `<li class="event"`) != eventsPerPage || !strings.Contains(body, ">Older</a>") {
		t.Errorf("%d entries", strings.Count(body, `<li class="event"`))
	}
}

// TestActivityOfThoseWhoMayNotReadTheTrail: they see what concerns devices, and of
// those the ones of their sites; who may read the trail sees the rest too.
func TestActivityOfThoseWhoMayNotReadTheTrail(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	oslo, _ := r.device("pc-oslo", store.Active, "Oslo")
	bergen, _ := r.device("pc-bergen", store.Active, "Bergen")
	for _, d := range []store.Device{oslo, bergen} {
		r.record(store.Record{DeviceID: d.ID, Kind: "agent_online"})
	}
	r.record(store.Record{Actor: "jon", Kind: "operator_changed", Target: "a secret promotion"})
	has := func(c *client, texts ...string) (found []string) {
		t.Helper()
		for _, path := range []string{"/activity", "/api/activity"} {
			a := c.do(http.MethodGet, path, "")
			if a.StatusCode != http.StatusOK {
				t.Fatalf("%s: %d", path, a.StatusCode)
			}
			for _, text := range texts {
				if strings.Contains(a.body, text) {
					found = append(found, text)
				}
			}
		}
		return found
	}
	const promotion = "a secret promotion"
	for name, tc := range map[string]struct {
		role  string
		sites []string
		want  []string
	}{
		"viewer of Oslo":    {access.Viewer, []string{"Oslo"}, []string{"pc-oslo"}},
		"operator of both":  {access.Operator, []string{"Oslo", "Bergen"}, []string{"pc-oslo", "pc-bergen"}},
		"operator of none":  {access.Operator, []string{"Tromsø"}, nil},
		"operator of all":   {access.Operator, nil, []string{"pc-oslo", "pc-bergen"}},
		"auditor":           {access.Auditor, nil, []string{"pc-oslo", "pc-bergen", promotion}},
		"auditor of a site": {access.Auditor, []string{"Oslo"}, []string{"pc-oslo", "pc-bergen", promotion}},
	} {
		found := has(r.browser(strings.ReplaceAll(name, " ", "-"), tc.role, tc.sites...), "pc-oslo", "pc-bergen", promotion)
		if want := append(slices.Clone(tc.want), tc.want...); !slices.Equal(found, want) {
			t.Errorf("%s sees %q, want %q", name, found, want)
		}
	}
}
