package tunnel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"borealis/agent/wire"
	"borealis/store"
)

// How many inventories of one connection are stored: each is a write to the disk, and an agent
// may send as many as it likes. What the device's owner decides comes seldom, and is shown at once.
const (
	inventoryBurst = 5                // At once,
	inventoryPause = 10 * time.Second // and one more after each of these.
)

// describe takes what the device says that it is made of. It is stored in the background,
// and when more come than may be stored, only the last of them.
func (c *Channel) describe(i wire.Inventory) {
	m := c.manager
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.devices[c.device.ID]; m.closing || d == nil || d.channel != c {
		return // A newer connection tells it too.
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inventory = &i
	if !c.storing && !c.down {
		c.storing = true
		m.work.Go(c.storeInventories)
	}
}

// storeInventories stores what has come, and what comes meanwhile.
func (c *Channel) storeInventories() {
	for c.awaitTurn() {
		if err := c.manager.storeInventory(c.device.ID, c.newestInventory()); err != nil {
			c.manager.log.Error("record_failed", "agent", c.device.ID, "err", err)
		}
	}
}

// awaitTurn waits until the next inventory may be stored. It reports false when none is there,
// and then the next one that comes starts anew, or when the connection is over before its turn.
func (c *Channel) awaitTurn() bool {
	wait, more := c.turn(time.Now())
	if !more || wait <= 0 {
		return more
	}
	turn := time.NewTimer(wait)
	defer turn.Stop()
	select {
	case <-turn.C:
		return true
	case <-c.over:
		return false // The agent says it again on the next one.
	}
}

// turn says how long the inventory that is there has to wait, and counts it.
func (c *Channel) turn(now time.Time) (wait time.Duration, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.storing = c.inventory != nil; !c.storing {
		return 0, false
	}
	if c.stored.Before(now) {
		c.stored = now
	}
	c.stored = c.stored.Add(inventoryPause)
	return c.stored.Sub(now) - inventoryBurst*inventoryPause, true
}

// newestInventory takes the one to store.
func (c *Channel) newestInventory() wire.Inventory {
	c.mu.Lock()
	defer c.mu.Unlock()
	newest := *c.inventory
	c.inventory = nil
	return newest
}

func (m *Manager) storeInventory(deviceID string, i wire.Inventory) error {
	document, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("encode the inventory: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	err = m.config.Store.SetInventory(ctx, deviceID, store.Inventory{Document: string(document), At: time.Now()})
	if err != nil && !errors.Is(err, store.ErrNotFound) { // the device may have been turned away
		return err
	}
	m.watch.tell(deviceID)
	return nil
}

// Inventory returns what a device said last that it is made of, and when it did; both are
// zero when it never did. It is not to be trusted.
func (m *Manager) Inventory(ctx context.Context, deviceID string) (i wire.Inventory, at time.Time, err error) {
	stored, err := m.config.Store.Inventory(ctx, deviceID)
	if errors.Is(err, store.ErrNotFound) {
		return i, at, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(stored.Document), &i)
	}
	if err != nil {
		return wire.Inventory{}, time.Time{}, fmt.Errorf("read the inventory: %w", err)
	}
	return i, stored.At, nil
}
