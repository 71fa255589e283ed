package tunnel

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"borealis/store"
	"borealis/tunnel/terminal"
)

// shell opens a terminal of an operator in a tunnel.
func (r *rig) shell(t *testing.T, tunnelID string, who Holder) *terminal.Terminal {
	t.Helper()
	term, resumed, err := r.Terminal(t.Context(), who, TerminalRequest{TunnelID: tunnelID})
	if err != nil || resumed {
		t.Fatalf("open a terminal for %s: resumed %v, %v", who.Operator, resumed, err)
	}
	return term
}

// of gives a reason to evict one operator.
func of(name string, reason Reason) func(store.Device, Holder) Reason {
	return func(_ store.Device, h Holder) Reason { return reason.when(h.Operator == name) }
}

// lines are what is on record of a tunnel, as kind, who, and why.
func (r *rig) lines(t *testing.T, tunnelID string) []string {
	t.Helper()
	var all []string
	for _, l := range r.records(t, store.RecordQuery{TunnelID: tunnelID}) {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s", l.Kind, l.Actor, l.Reason)))
	}
	return all
}

func TestEvictedOperatorsLoseTheirShells(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	id := r.up(t, h, holder("nora")).TunnelID
	if _, err := r.Connect(t.Context(), h.device.ID, holder("jon"), ConnectOptions{}); err != nil {
		t.Fatal(err)
	}
	noras, jons := r.shell(t, id, holder("nora")), r.shell(t, id, holder("jon"))

	r.Evict(t.Context(), of("nobody", OperatorLocked))
	if st, err := r.Status(t.Context(), h.device.ID); err != nil || len(st.Operators) != 2 || over(noras) || over(jons) {
		t.Fatalf("an eviction of nobody: %+v, %v", st.Operators, err)
	}
	for range 2 { // the second time changes nothing
		r.Evict(t.Context(), of("nora", OperatorLocked))
		if !over(noras) || over(jons) {
			t.Fatalf("nora's shell is over: %v, jon's: %v", over(noras), over(jons))
		}
		st, err := r.Status(t.Context(), h.device.ID)
		if err != nil || !st.Up() || len(st.Operators) != 1 || st.Operators[0].Name != "jon" {
			t.Fatalf("after nora was evicted: %+v, %v", st.Operators, err)
		}
	}
	if got := run(t, r, id, "echo still $((40+2))"); !strings.Contains(got, "still 42") { // as nora, who may come back
		t.Errorf("the shell says %q", got)
	}
	r.Evict(t.Context(), func(store.Device, Holder) Reason { return DeviceLocked })
	if got := r.ending(t, id); got != DeviceLocked {
		t.Errorf("ended as %s", got)
	}
	if n := r.peers(t); n != 0 {
		t.Errorf("%d peers", n)
	}
	if !over(jons) {
		t.Error("jon's shell goes on")
	}
	want := map[string]int{
		"operator_left nora operator_locked": 1, "terminal_closed nora operator_locked": 1, "terminal_closed nora": 1,
		"operator_left nora device_locked": 1, "operator_left jon device_locked": 1, "terminal_closed jon device_locked": 1,
		"tunnel_down  device_locked": 1,
	}
	got := r.lines(t, id)
	for line, n := range want {
		if found := strings.Count(strings.Join(got, "\n")+"\n", line+"\n"); found != n {
			t.Errorf("%q is on record %d times, want %d; all: %q", line, found, n, got)
		}
	}
	for _, l := range r.records(t, store.RecordQuery{TunnelID: id}) {
		if l.Actor != "" && l.Session != "session-"+l.Actor {
			t.Errorf("%s of %s without the session: %q", l.Kind, l.Actor, l.Session)
		}
	}
}

// TestEvictedShellsOutliveTheirTab: who opened a shell is remembered when they are not
// attached any more.
func TestEvictedShellsOutliveTheirTab(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	id := r.up(t, h, holder("nora")).TunnelID
	if _, err := r.Connect(t.Context(), h.device.ID, holder("jon"), ConnectOptions{}); err != nil {
		t.Fatal(err)
	}
	term := r.shell(t, id, holder("nora"))
	if _, err := r.Disconnect(t.Context(), id, holder("nora"), false); err != nil {
		t.Fatal(err)
	}
	if over(term) {
		t.Fatal("the shell ended with its operator's attachment")
	}
	r.Evict(t.Context(), of("nora", OperatorLocked))
	if !over(term) {
		t.Error("the shell of an evicted operator goes on")
	}
	if st, err := r.Status(t.Context(), h.device.ID); err != nil || !st.Up() {
		t.Errorf("the tunnel: %+v, %v", st, err)
	}
}

// TestEvictedWhileTheirShellOpens: a shell that is on its way is not given to somebody who
// was evicted meanwhile.
func TestEvictedWhileTheirShellOpens(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	id := r.up(t, h, holder("jon")).TunnelID
	for range 10 {
		if _, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{}); err != nil {
			t.Fatal(err)
		}
		var term *terminal.Terminal
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			term, _, err = r.Terminal(t.Context(), holder("nora"), TerminalRequest{TunnelID: id})
		}()
		opening := func() bool {
			st, err := r.Status(t.Context(), h.device.ID)
			return err != nil || slices.ContainsFunc(st.Operators, func(a Attached) bool { return a.Kind == "terminal" })
		}
		for !opening() {
			runtime.Gosched()
		}
		r.Evict(t.Context(), of("nora", OperatorLocked))
		<-done
		if err == nil && !over(term) || len(r.session(id).running()) > 0 {
			t.Fatalf("nora has a shell: %v", err)
		}
	}
}

// TestEvictionsAtOnce has many callers evict the same operators while others connect.
func TestEvictionsAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	id := r.up(t, h, holder("nora")).TunnelID
	r.shell(t, id, holder("nora"))
	var work sync.WaitGroup
	for i := range 20 {
		work.Go(func() { r.Evict(t.Context(), of("nora", OperatorLocked)) })
		work.Go(func() {
			_, err := r.Connect(t.Context(), h.device.ID, holder(fmt.Sprint("jon", i)), ConnectOptions{})
			if err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	r.Evict(t.Context(), func(store.Device, Holder) Reason { return DeviceLocked })
	for _, st := range r.Tunnels() {
		r.ending(t, st.TunnelID)
	}
	count := make(map[string]int)
	for _, l := range r.records(t, store.RecordQuery{DeviceID: h.device.ID}) {
		count[l.Kind+" "+l.Actor]++
	}
	if count["operator_left nora"] != 1 || count["terminal_closed nora"] != 1 {
		t.Errorf("on record: %v", count)
	}
	for i := range 20 {
		name := fmt.Sprint(" jon", i)
		if in, out := count["operator_joined"+name]+count["tunnel_requested"+name], count["operator_left"+name]; in < 1 || in != out {
			t.Errorf("%s came %d times and left %d times", name, in, out)
		}
	}
	if n := r.peers(t); n != 0 {
		t.Errorf("%d peers", n)
	}
}

func TestForceStopIsBySomebody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	id := r.up(t, h, holder("nora")).TunnelID
	who := holder("jon")
	who.Source = "192.0.2.7"
	if _, err := r.Disconnect(t.Context(), id, who, true); err != nil {
		t.Fatal(err)
	}
	all := r.records(t, store.RecordQuery{TunnelID: id})
	if l := all[len(all)-1]; l.Kind != "tunnel_down" || l.Actor != "jon" || l.Session != "session-jon" || l.Source != "192.0.2.7" || l.Reason != string(OperatorForceStop) {
		t.Errorf("%+v", l)
	}
}

func TestLockedDevicesRefuse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t, func(h *host) {
		h.device, h.identity = r.device(t, "PC in Oslo", func(c *store.Code) { c.Site = "Oslo" })
	})
	id := r.up(t, h, holder("nora")).TunnelID
	other := r.join(t)
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	locks := []store.Lock{
		{Kind: store.LockDevice, Target: h.device.ID, Reason: "stolen", Until: until},
		{Kind: store.LockSite, Target: "Oslo", Reason: "burglary"},
	}
	for _, l := range locks {
		if err := r.store.AddLock(t.Context(), l, store.Record{Actor: "ada"}); err != nil {
			t.Fatal(err)
		}
		_, connect := r.Connect(t.Context(), h.device.ID, holder("jon"), ConnectOptions{})
		_, _, shell := r.Terminal(t.Context(), holder("nora"), TerminalRequest{TunnelID: id})
		for _, err := range []error{connect, shell} {
			var locked *LockedError
			if !errors.As(err, &locked) || !errors.Is(err, ErrLocked) || locked.Kind != l.Kind || locked.Reason != l.Reason || !locked.Until.Equal(l.Until) {
				t.Errorf("%s locked: %v", l.Kind, err)
			}
		}
		if _, err := r.Connect(t.Context(), other.device.ID, holder("jon"), ConnectOptions{}); err != nil {
			t.Errorf("%s locked: another device refuses: %v", l.Kind, err)
		}
		if err := r.store.DeleteLock(t.Context(), l.Kind, l.Target, store.Record{Actor: "ada"}); err != nil {
			t.Fatal(err)
		}
	}
	r.shell(t, id, holder("nora"))
	if st, err := r.Connect(t.Context(), h.device.ID, holder("jon"), ConnectOptions{}); err != nil || len(st.Operators) != 2 {
		t.Errorf("unlocked: %+v, %v", st.Operators, err)
	}
	for _, l := range r.lines(t, id) {
		if strings.HasPrefix(l, "operator_joined") && l != "operator_joined jon" || strings.Count(l, "terminal_opened") > 1 {
			t.Errorf("what was refused is on record as done: %s", l)
		}
	}
}

// BenchmarkEvict looks at a thousand tunnels and evicts nobody.
func BenchmarkEvict(b *testing.B) {
	m := &Manager{devices: make(map[string]*device)}
	for i := range 1000 {
		id := fmt.Sprint(i)
		s := &session{manager: m, id: id, device: store.Device{ID: id}, holders: make(map[holderKey]*attachment)}
		for _, name := range []string{"nora", "jon"} {
			h := holder(name)
			s.holders[h.key()] = &attachment{holder: h}
		}
		m.devices[id] = &device{session: s}
	}
	for b.Loop() {
		m.Evict(b.Context(), of("nobody", OperatorLocked))
	}
}
