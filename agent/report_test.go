package agent

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
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
		go follow(ctx, make(chan struct{}, 1), ask, func(i wire.Inventory) {
			got = append(got, told{i.Disks[0].Free, time.Since(began)})
		})
		<-time.After(6*lookEvery + time.Second)
		cancel()
		synctest.Wait()
		want := []told{{500, 0}, {489, 3 * lookEvery}, {479, 6 * lookEvery}}
		if diff := cmp.Diff(want, got); diff != "" || looks != 7 {
			t.Errorf("%d looks (-want +got):\n%s", looks, diff)
		}
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
