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

// inventoryPause is the least time between two inventories of one connection that are
// stored: each is a write to the disk, and an agent may send as many as it likes.
const inventoryPause = 10 * time.Second

// describe takes what the device says that it is made of. It is stored in the background,
// and when more come meanwhile, only the last of them.
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

// storeInventories stores what comes, until nothing has come for a while or the
// connection is over.
func (c *Channel) storeInventories() {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-c.over:
			return // The agent says it again on the next one.
		}
		i := c.nextInventory()
		if i == nil {
			return
		}
		if err := c.manager.storeInventory(c.device.ID, *i); err != nil {
			c.manager.log.Error("record_failed", "agent", c.device.ID, "err", err)
		}
		pause.Reset(inventoryPause)
	}
}

// nextInventory is the one to store next; nil when there is none, and then the next one
// that comes starts anew.
func (c *Channel) nextInventory() *wire.Inventory {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.inventory
	c.inventory, c.storing = nil, next != nil
	return next
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
