package tunnel

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/store"
)

// told is a timeline in words, oldest first.
func told(all []Moment) []string {
	var text []string
	for _, m := range slices.Backward(all) {
		if m.Step == "" {
			text = append(text, "record "+m.Record.Kind)
			continue
		}
		text = append(text, fmt.Sprintf("%s %s %s", m.Step, m.Operator, m.Reason))
	}
	return text
}

// TestTimeline: what happened to a device is told once, in its order, with the time that each step
// of a tunnel took, of tunnels that have ended and of the live one.
func TestTimeline(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, err := r.Timeline(t.Context(), "nobody"); !errors.Is(err, ErrUnknownDevice) {
		t.Errorf("of an unknown device: %v", err)
	}
	other := r.join(t)
	r.up(t, other, holder("ann"))
	h := r.join(t)
	first := r.up(t, h, holder("nora"))
	if _, err := r.Disconnect(t.Context(), h.device.ID, holder("nora"), false); err != nil {
		t.Fatal(err)
	}
	r.ending(t, first.TunnelID)
	r.setPorts(t, h.device.ID, service("vnc", false))
	live := r.up(t, h, holder("jon"))
	r.until(t, r.settled)
	all, err := r.Timeline(t.Context(), h.device.ID)
	if err != nil {
		t.Fatal(err)
	}
	steps := []string{"offered  ", "ready  ", "peered  ", "up  "}
	want := slices.Concat(
		[]string{"record device_enrolled", "record agent_online", "requested nora "}, steps,
		[]string{"record operator_left", "closing  ", "ended  operator_disconnect", "record ports_changed", "requested jon "}, steps)
	if diff := cmp.Diff(want, told(all)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if !slices.IsSortedFunc(all, func(a, b Moment) int { return b.At.Compare(a.At) }) {
		t.Errorf("not the newest first: %+v", all)
	}
	var before Moment
	for _, m := range slices.Backward(all) {
		switch {
		case m.Step == "":
		case m.First != (m.Step == Requested):
			t.Errorf("the first step: %+v", m)
		case !m.First && (m.TunnelID != before.TunnelID || m.Took != m.At.Sub(before.At)):
			t.Errorf("%+v took %s, after %+v", m, m.Took, before)
		case m.First && m.TunnelID != first.TunnelID && m.TunnelID != live.TunnelID:
			t.Errorf("a tunnel of another device: %+v", m)
		}
		if m.Step != "" {
			before = m
		}
	}
}

// TestTimelineOfAFailure: why a tunnel did not come up is told once.
func TestTimelineOfAFailure(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t, func(h *host) { h.mute = true })
	st, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	live, err := r.Timeline(t.Context(), h.device.ID)
	if err != nil || live[0].Step != Offered || live[0].TunnelID != st.TunnelID {
		t.Errorf("while it comes up the newest step is %+v, %v", live[0], err)
	}
	h.drop()
	if got := r.ending(t, st.TunnelID); got != AgentLost {
		t.Fatalf("it ends as %s", got)
	}
	r.until(t, r.settled)
	all, err := r.Timeline(t.Context(), h.device.ID)
	if err != nil {
		t.Fatal(err)
	}
	said := 0
	for _, m := range all {
		if m.Detail == "the agent's connection was lost" || m.Record.Detail == "the agent's connection was lost" {
			said++
		}
		if m.Step == Ended && m.Reason != AgentLost {
			t.Errorf("its end: %+v", m)
		}
	}
	if said != 1 {
		t.Errorf("why is told %d times: %+v", said, all)
	}
}

// TestTimelineIsBounded: of a long history the last two hundred steps are told, whatever they are.
func TestTimelineIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device(t, "PC")
	at := time.Now().Add(-time.Hour)
	for i := range 150 {
		id, begin := fmt.Sprintf("tunnel-%03d", i), at.Add(time.Duration(i)*10*time.Second)
		row := store.Tunnel{
			ID: id, DeviceID: d.ID, Operator: "nora", TokenID: id, State: string(Requested), RequestedAt: begin,
			Steps: []store.Step{{Name: string(Requested), At: begin}},
		}
		if err := r.store.AddTunnel(t.Context(), row, begin, store.Record{}); err != nil {
			t.Fatal(err)
		}
		end := begin.Add(time.Second)
		steps := append(row.Steps, store.Step{Name: string(Ended), At: end})
		if _, err := r.store.EndTunnel(t.Context(), id, string(AgentLost), end, 0, 0, steps, store.Record{}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := r.Timeline(t.Context(), d.ID)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(all, func(m Moment) bool { return m.Step == "" }) {
		t.Error("a record of a tunnel is told beside its steps")
	}
	if len(all) != timelineMost || all[0].TunnelID != "tunnel-149" || all[timelineMost-1].TunnelID != "tunnel-050" {
		t.Errorf("%d steps, from %+v to %+v", len(all), all[0], all[len(all)-1])
	}
	for i := range 250 {
		if err := r.store.AddRecord(t.Context(), store.Record{DeviceID: d.ID, Kind: "agent_online", At: at.Add(time.Hour + time.Duration(i))}); err != nil {
			t.Fatal(err)
		}
	}
	if all, err = r.Timeline(t.Context(), d.ID); err != nil || len(all) != timelineMost || all[timelineMost-1].Record.Kind != "agent_online" {
		t.Errorf("%d steps, the last %+v, %v", len(all), all[len(all)-1], err)
	}
}
