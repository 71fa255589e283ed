package agent

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"time"

	"borealis/agent/inventory"
	"borealis/agent/wire"
)

const (
	lookEvery   = 5 * time.Minute // How often the device is asked what it is made of.
	lookGrace   = time.Second     // To finish that when the channel has ended.
	limitsEvery = time.Second     // How often its local policy is read, and told when it has changed.

	// Smaller changes are not told.
	freeShare  = 100         // Of a disk's free space: a hundredth of its size.
	bootWobble = time.Minute // Of the time of the last start, which follows the clock.
)

// A reporter tells the engine what the device is made of and what its owner forbids.
type reporter struct {
	ask     func(context.Context) wire.Inventory // What the device is made of.
	forbids func() []string
	tell    func(wire.Inventory)
	turn    chan struct{}   // Holds one token: who has it asks.
	known   *wire.Inventory // What was found last, on any connection; for the goroutine of follow.
}

// follow tells all of it, at once and whenever it has changed, until ctx ends. The device is asked
// in the background, and seldom: a disk that hangs does not hold up what the owner has just decided.
func (r *reporter) follow(ctx context.Context) {
	found := make(chan wire.Inventory)
	var asking sync.WaitGroup
	defer asking.Wait()
	asking.Go(func() { r.keepLooking(ctx, found) })
	tick := time.NewTicker(limitsEvery)
	defer tick.Stop()
	for told := (*wire.Inventory)(nil); ; {
		select {
		case <-ctx.Done():
			return
		case i := <-found:
			r.known = &i
		case <-tick.C:
		}
		if r.known == nil {
			continue
		}
		now := *r.known
		now.Limits = r.forbids()
		if told == nil || changed(*told, now) {
			r.tell(now)
			told = &now
			tick.Reset(limitsEvery) // What changes all the time is told once in a second.
		}
	}
}

// keepLooking asks the device what it is made of, at once and every [lookEvery], until ctx ends.
func (r *reporter) keepLooking(ctx context.Context, found chan<- wire.Inventory) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if i, ok := look(ctx, r.turn, r.ask); ok {
			select {
			case found <- i:
			case <-ctx.Done():
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// describe says what the device is made of, and what its tunnels stand on.
func (a *Agent) describe(ctx context.Context) wire.Inventory {
	i := inventory.Gather(ctx)
	i.Link, i.LinkReason, i.Driver = string(a.plane.mode), clean(a.plane.reason, maxSentence), clean(a.plane.driver, maxName)
	if own := a.plane.adapter; own != nil { // It goes up and down with the tunnels.
		i.Adapters = slices.DeleteFunc(i.Adapters, func(n wire.Adapter) bool { return n.Name == own.Name() })
	}
	return i
}

// forbids says what the device's owner does not allow, as an inventory may hold it.
func (a *Agent) forbids() []string {
	all := a.limits.Sentences()
	all = all[:min(len(all), wire.MaxLimits)]
	for n, sentence := range all {
		all[n] = clean(sentence, maxName)
	}
	return all
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

// Describe says what this device is made of, for people who look for a fault. Who signed in last
// is left out.
func Describe(ctx context.Context) wire.Inventory {
	i := inventory.Gather(ctx)
	i.LastUser = ""
	return i
}
