package agent

import (
	"context"
	"reflect"
	"slices"
	"time"

	"borealis/agent/inventory"
	"borealis/agent/wire"
)

const (
	lookEvery = 5 * time.Minute // How often the device is asked what it is made of.
	lookGrace = time.Second     // To finish that when the channel has ended.

	// Smaller changes are not told.
	freeShare  = 100         // Of a disk's free space: a hundredth of its size.
	bootWobble = time.Minute // Of the time of the last start, which follows the clock.
)

// report tells the engine what the device is made of, at once and whenever it has changed,
// until ctx ends.
func (a *Agent) report(ctx context.Context, _ *connection) {
	follow(ctx, a.looking, a.describe, a.tellInventory)
}

// follow tells what ask returns, at once and whenever it has changed, until ctx ends.
func follow(ctx context.Context, turn chan struct{}, ask func(context.Context) wire.Inventory, tell func(wire.Inventory)) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var told *wire.Inventory
	for {
		if now, ok := look(ctx, turn, ask); ok && (told == nil || changed(*told, now)) {
			tell(now)
			told = &now
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// describe says what the device is made of, what its tunnels stand on, and what its own
// policy forbids.
func (a *Agent) describe(ctx context.Context) wire.Inventory {
	i := inventory.Gather(ctx)
	i.Link, i.LinkReason, i.Driver = string(a.plane.mode), clean(a.plane.reason, maxSentence), clean(a.plane.driver, maxName)
	if own := a.plane.adapter; own != nil { // It goes up and down with the tunnels.
		i.Adapters = slices.DeleteFunc(i.Adapters, func(n wire.Adapter) bool { return n.Name == own.Name() })
	}
	for _, sentence := range a.limits.Sentences() {
		i.Limits = append(i.Limits, clean(sentence, maxName))
	}
	i.Limits = i.Limits[:min(len(i.Limits), wire.MaxLimits)]
	return i
}

// tellInventory sends the engine an inventory. One that is no message is left out: the
// channel is worth more.
func (a *Agent) tellInventory(i wire.Inventory) {
	m := wire.FromAgent{Inventory: &i}
	if _, err := m.Encode(); err != nil {
		a.log.Error("inventory_left_out", "err", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tellLocked(m)
}

// look calls ask, and stops waiting for it soon after ctx ends; ok is false when there is
// no answer. What hangs, such as a disk, then does not hold up the channel: it keeps the
// one place in turn, so that there is never more than one of it.
func look(ctx context.Context, turn chan struct{}, ask func(context.Context) wire.Inventory) (_ wire.Inventory, ok bool) {
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return wire.Inventory{}, false
	}
	found := make(chan wire.Inventory, 1)
	go func() {
		defer func() { <-turn }()
		found <- ask(ctx)
	}()
	select {
	case i := <-found:
		return i, true
	case <-ctx.Done():
	}
	select {
	case <-found:
	case <-time.After(lookGrace):
	}
	return wire.Inventory{}, false
}

// changed reports whether now is worth telling after told was.
func changed(told, now wire.Inventory) bool {
	if now.Booted.Sub(told.Booted).Abs() < bootWobble {
		now.Booted = told.Booted
	}
	if len(now.Disks) == len(told.Disks) {
		now.Disks = slices.Clone(now.Disks)
		for n := range now.Disks {
			d, before := &now.Disks[n], told.Disks[n]
			if gap := d.Free - before.Free; max(gap, -gap) < d.Size/freeShare {
				d.Free = before.Free
			}
		}
	}
	return !reflect.DeepEqual(told, now)
}
