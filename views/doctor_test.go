package views

import (
	"strings"
	"testing"
	"time"
)

// cannedDoctor has a check of every kind.
func cannedDoctor() Doctor {
	return Doctor{
		At: now, Took: 1900 * time.Millisecond,
		Checks: []Check{
			{Name: "agent", OK: true, Detail: "online for 3h0m0s, version 1.2.3"},
			{Name: "handshake", Detail: "UDP port 30000 is blocked between device and engine: no packet of the device has come", Hint: "Let UDP pass from the device to borealis.example:30000 and back."},
			{Name: "port 47002/tcp", OK: true, Detail: "PowerShell: answers", Millis: 2.4},
			{Name: "port 22/tcp", OK: true, Detail: "SSH: closed by policy", Hint: "To use it, allow it under Advanced Config."},
		},
	}
}

func hostileDoctor() Doctor {
	d := cannedDoctor()
	for i := range d.Checks {
		d.Checks[i].Name, d.Checks[i].Detail, d.Checks[i].Hint = hostile, hostile, hostile
	}
	return d
}

// cannedHistory has a tunnel that worked, one that failed, a live one, and what happened between.
func cannedHistory() History {
	at := now.Add(-time.Hour)
	step := func(name string, took time.Duration) HistoryStep {
		at = at.Add(took)
		return HistoryStep{At: at, Step: name, Took: took, First: name == "requested"}
	}
	coming := func() []HistoryStep {
		return []HistoryStep{step("requested", 0), step("offered", time.Millisecond), step("ready", 9*time.Millisecond), step("peered", time.Millisecond)}
	}
	worked := append(coming(), step("up", 30*time.Millisecond))
	worked = append(worked, HistoryStep{At: at, Event: Event{ID: 3, At: at, Kind: "terminal_opened", Actor: "nora", Target: "1", TunnelID: "t1"}}, step("closing", 20*time.Minute), step("ended", 2*time.Millisecond))
	between := HistoryStep{At: at, Event: Event{ID: 4, At: at, Kind: "ports_changed", Actor: "jon", Detail: "VNC closed"}}
	failed := append(coming(), step("closing", 15*time.Second), step("ended", time.Millisecond))
	failed[4].Detail = "no WireGuard handshake: is UDP port 30000 open on the way to the engine?"
	live := append(coming(), step("up", 30*time.Millisecond))
	return History{Most: 200, Blocks: []HistoryBlock{
		{Tunnel: "t3", Operator: "nora", Steps: live},
		{Tunnel: "t2", Operator: "jon", End: cannedSilent, Steps: failed},
		{Steps: []HistoryStep{between}},
		{Tunnel: "t1", Operator: "nora", End: cannedLeft, Steps: worked},
	}}
}

func hostileHistory() History {
	h := cannedHistory()
	for i := range h.Blocks {
		b := &h.Blocks[i]
		b.Operator, b.End = hostile, hostileEnding
		for j := range b.Steps {
			s := &b.Steps[j]
			s.Detail, s.Event.Actor, s.Event.Detail, s.Event.Target = hostile, hostile, hostile, hostile
		}
	}
	return h
}

// TestDoctorSays: what is in the way is said in one sentence, where it is heard, and each check has
// a word beside its colour.
func TestDoctorSays(t *testing.T) {
	t.Parallel()
	root := parse(t, DoctorFindings(cannedDoctor()))
	var words []string
	for _, n := range elements(root, with("data-testid", "doctor-check")) {
		word, _ := attribute(n, "data-ok")
		words = append(words, word)
		if !strings.HasPrefix(text(n), word+":") {
			t.Errorf("%q does not begin with %q", text(n), word)
		}
	}
	if got := strings.Join(words, ", "); got != "OK, To mend, OK, Note" {
		t.Errorf("the checks are %s", got)
	}
	for want, d := range map[string]Doctor{
		"One thing is in the way: handshake: UDP port 30000": cannedDoctor(),
		"Nothing is in the way. 2 things":                    {At: now, Checks: []Check{{Name: "a", OK: true}, {Name: "b", OK: true}}},
		"2 things are in the way. The first: a: x.":          {At: now, Checks: []Check{{Name: "a", Detail: "x"}, {Name: "b"}}},
	} {
		if !strings.HasPrefix(d.said(), want) {
			t.Errorf("it says %q, want %q", d.said(), want)
		}
	}
	if s := (Doctor{}).said(); s != "" {
		t.Errorf("before it looked it says %q", s)
	}
}

// TestDoctorAsksItself, once an attempt has failed, and only where it helps.
func TestDoctorAsksItself(t *testing.T) {
	t.Parallel()
	failed := Device{Now: now, CanConnect: true, Tunnel: Tunnel{ID: "t", State: "ended", End: cannedSilent, EndedAt: now.Add(-time.Second)}}
	for name, change := range map[string]func(*Device){
		"asked":       func(v *Device) { v.Doctor.At = now },
		"a while ago": func(v *Device) { v.Now = now.Add(time.Hour) },
		"a viewer":    func(v *Device) { v.CanConnect = false },
		"live":        func(v *Device) { v.Tunnel.State = "peered" },
		"worked":      func(v *Device) { v.Tunnel.UpAt, v.Tunnel.End = now, cannedLeft },
		"none":        func(v *Device) { v.Tunnel = Tunnel{} },
	} {
		v := failed
		if !v.askWhy() {
			t.Fatal("it does not ask after a failure")
		}
		if change(&v); v.askWhy() {
			t.Errorf("%s: it asks by itself", name)
		}
	}
}

// TestHistoryLines: the steps of coming up are drawn to scale, and what lies minutes later is not.
func TestHistoryLines(t *testing.T) {
	t.Parallel()
	var got []string
	for _, l := range cannedHistory().Blocks[3].lines() {
		if l.from < 0 || l.from+l.width > 1000 || (l.width > 0) != (l.Step != "" && l.Step != "closing" && l.Step != "ended") {
			t.Errorf("%s is drawn from %d, %d wide", l.name, l.from, l.width)
		}
		got = append(got, l.took)
	}
	if text := strings.Join(got, " "); text != "0 ms +1.0 ms +9.0 ms +1.0 ms +30 ms  +20 min +2.0 ms" {
		t.Errorf("the steps took %s", text)
	}
	root := parse(t, deviceTimeline(cannedDevice(TabTimeline)))
	if n := having(root, "timeline-tunnel"); n != 3 {
		t.Errorf("%d tunnels", n)
	}
	all := text(root)
	for _, want := range []string{"Tunnel is up", "Tunnel ended: no WireGuard handshake came about", "Tunnel ended: the last operator left", "jon changed the allowed ports: VNC closed", "The last 200 steps"} {
		if !strings.Contains(all, want) {
			t.Errorf("the timeline does not say %q", want)
		}
	}
}
