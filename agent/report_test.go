package agent

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/agent/wire"
)

func TestChanged(t *testing.T) {
	t.Parallel()
	booted := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	described := func(change func(*wire.Inventory)) wire.Inventory {
		i := wire.Inventory{
			CPU: "Some CPU", Booted: booted, LastUser: "nora", Limits: []string{"no terminal"},
			Disks:    []wire.Disk{{Name: "C:", Size: 1000, Free: 500}, {Name: "D:", Size: 4000, Free: 0}},
			Adapters: []wire.Adapter{{Name: "Ethernet", Addresses: []string{"192.0.2.5/24"}}},
		}
		change(&i)
		return i
	}
	for name, tt := range map[string]struct {
		change func(*wire.Inventory)
		want   bool
	}{
		"nothing":              {func(*wire.Inventory) {}, false},
		"less than 1 % used":   {func(i *wire.Inventory) { i.Disks[0].Free = 491 }, false},
		"less than 1 % freed":  {func(i *wire.Inventory) { i.Disks[1].Free = 39 }, false},
		"1 % used":             {func(i *wire.Inventory) { i.Disks[0].Free = 490 }, true},
		"1 % freed":            {func(i *wire.Inventory) { i.Disks[1].Free = 40 }, true},
		"another size":         {func(i *wire.Inventory) { i.Disks[0].Size = 1001 }, true},
		"a disk less":          {func(i *wire.Inventory) { i.Disks = i.Disks[:1] }, true},
		"a disk more":          {func(i *wire.Inventory) { i.Disks = append(i.Disks, wire.Disk{Name: "E:"}) }, true},
		"the clock was set":    {func(i *wire.Inventory) { i.Booted = booted.Add(-59 * time.Second) }, false},
		"started again":        {func(i *wire.Inventory) { i.Booted = booted.Add(time.Minute) }, true},
		"another user":         {func(i *wire.Inventory) { i.LastUser = "jon" }, true},
		"another address":      {func(i *wire.Inventory) { i.Adapters[0].Addresses[0] = "192.0.2.6/24" }, true},
		"another local policy": {func(i *wire.Inventory) { i.Limits = nil }, true},
	} {
		told, now := described(func(*wire.Inventory) {}), described(tt.change)
		before := described(tt.change)
		if got := changed(told, now); got != tt.want {
			t.Errorf("%s: changed is %v", name, got)
		}
		if diff := cmp.Diff(before, now); diff != "" {
			t.Errorf("%s: it was changed by looking:\n%s", name, diff)
		}
	}
}

// TestFollow: what has changed is told at the next look, and creeping changes add up.
func TestFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		free := []int64{500, 495, 491, 489, 489, 480, 479} // At each look; of 1000.
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		looks := 0
		ask := func(context.Context) wire.Inventory {
			looks++
			return wire.Inventory{Disks: []wire.Disk{{Name: "C:", Size: 1000, Free: free[looks-1]}}}
		}
		type told struct {
			Free int64
			At   time.Duration
		}
		var got []told
		began := time.Now()
		r := reporter{ask: ask, forbids: func() []string { return nil }, turn: make(chan struct{}, 1), tell: func(i wire.Inventory) {
			got = append(got, told{i.Disks[0].Free, time.Since(began)})
		}}
		go r.follow(ctx)
		<-time.After(6*lookEvery + time.Second)
		cancel()
		synctest.Wait()
		want := []told{{500, 0}, {489, 3 * lookEvery}, {479, 6 * lookEvery}}
		if diff := cmp.Diff(want, got); diff != "" || looks != 7 {
			t.Errorf("%d looks (-want +got):\n%s", looks, diff)
		}
	})
}

// TestLimitsAreToldAtOnce: what the owner decides is told within a second, at most once in one, and
// also when the device does not answer any more; on a new connection with what was known of it.
func TestLimitsAreToldAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var limits atomic.Pointer[[]string]
		decide := func(sentences ...string) time.Time { limits.Store(&sentences); return time.Now() }
		decide()
		type told struct {
			at    time.Time
			limit string
		}
		tellings := make(chan told, 100)
		asked, hangs := 0, make(chan struct{})
		r := &reporter{
			turn: make(chan struct{}, 1), forbids: func() []string { return *limits.Load() },
			ask: func(context.Context) wire.Inventory {
				if asked++; asked > 1 {
					<-hangs
				}
				<-time.After(limitsEvery * 9 / 10)
				return wire.Inventory{CPU: "Some CPU"}
			},
			tell: func(i wire.Inventory) {
				if i.CPU != "Some CPU" {
					t.Errorf("it tells %+v", i)
				}
				tellings <- told{time.Now(), strings.Join(i.Limits, " ")}
			},
		}
		var last time.Time
		next := func(limit string, since time.Time) {
			t.Helper()
			got := <-tellings
			if got.limit != limit || got.at.Sub(since) > limitsEvery {
				t.Errorf("%v after the decision it tells %q, want %q", got.at.Sub(since), got.limit, limit)
			}
			if gap := got.at.Sub(last); gap < limitsEvery {
				t.Errorf("%q is told %v after something else", limit, gap)
			}
			last = got.at
		}
		ctx, cancel := context.WithCancel(t.Context())
		go r.follow(ctx)
		next("", time.Now())
		next("at once", decide("at once"))
		<-time.After(lookEvery + 300*time.Millisecond) // The device hangs from here on.
		next("stopped", decide("stopped"))
		<-time.After(300 * time.Millisecond)
		next("", decide())

		for n := range 100 { // Ten seconds of somebody who cannot decide.
			decide(fmt.Sprint(n))
			<-time.After(100 * time.Millisecond)
		}
		<-time.After(2 * limitsEvery)
		synctest.Wait()
		if n := len(tellings); n < 10 || n > 11 {
			t.Errorf("it tells %d times in ten seconds", n)
		}
		for len(tellings) > 1 {
			last = (<-tellings).at
		}
		next("99", time.Now())
		cancel()
		<-time.After(2 * lookGrace)

		decide("while it was away")
		ctx, cancel = context.WithCancel(t.Context())
		go r.follow(ctx)
		next("while it was away", time.Now())
		<-time.After(2 * limitsEvery)
		synctest.Wait()
		if len(tellings) != 0 {
			t.Errorf("and then %q", (<-tellings).limit)
		}
		cancel()
		close(hangs)
		<-time.After(2 * limitsEvery) // It looks to its end.
	})
}

// TestHangingDisk: it holds up neither the channel nor the next one, and there is never
// more than one question that waits for it.
func TestHangingDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turn, mended := make(chan struct{}, 1), make(chan struct{})
		asked := 0
		hang := func(context.Context) wire.Inventory { asked++; <-mended; return wire.Inventory{CPU: "late"} }
		for n, longest := range []time.Duration{lookGrace, 0, 0} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			began := time.Now()
			if i, ok := look(ctx, turn, hang); ok {
				t.Errorf("%d: %+v", n, i)
			}
			took := time.Since(began) - time.Minute
			synctest.Wait()
			if took != longest || asked != 1 {
				t.Errorf("%d: %v longer than the channel, asked %d times", n, took, asked)
			}
			cancel()
		}
		close(mended)
		synctest.Wait()
		i, ok := look(t.Context(), turn, func(context.Context) wire.Inventory { return wire.Inventory{CPU: "well"} })
		if !ok || i.CPU != "well" {
			t.Errorf("afterwards: %v %+v", ok, i)
		}
	})
}

// TestInventoryLeftOut: what is no message is not sent, and does not end the channel.
func TestInventoryLeftOut(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	out := make(chan wire.FromAgent, 2)
	a := &Agent{log: slog.New(slog.NewTextHandler(&log, nil)), out: out, drop: func(err error) { t.Error(err) }}
	a.tellInventory(wire.Inventory{CPU: "\x00"})
	a.tellInventory(wire.Inventory{CPU: "Some CPU"})
	if m := <-out; m.Inventory == nil || m.Inventory.CPU != "Some CPU" || len(out) != 0 {
		t.Errorf("%+v", m)
	}
	if !strings.Contains(log.String(), "inventory_left_out") {
		t.Errorf("the log says %q", log.String())
	}
	a.out = nil
	a.tellInventory(wire.Inventory{}) // Without a channel, to nobody.
}
