package store

import (
	"context"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
)

// MaxInventory is how many bytes the document of an [Inventory] has at most.
const MaxInventory = 64 << 10

// Inventory is what a device is made of, as it said last. That is not to be trusted.
type Inventory struct {
	Document string    // JSON, whose members the store does not know
	At       time.Time // when the device said so
}

// SetInventory stores what a device is made of in place of what it said before. The error
// is [ErrNotFound] for an unknown id. A document that is too long, or no JSON, is refused.
func (s *Store) SetInventory(ctx context.Context, deviceID string, i Inventory) error {
	if n := len(i.Document); n > MaxInventory {
		return fmt.Errorf("set inventory of device %s: %d bytes are more than %d", deviceID, n, MaxInventory)
	}
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return runOne(conn, "inventory_set", named{
			":device_id": deviceID,
			":at":        nanos(orNow(i.At)),
			":document":  i.Document,
		})
	})
	if err != nil {
		return fmt.Errorf("set inventory of device %s: %w", deviceID, err)
	}
	return nil
}

// Inventory returns what a device said last that it is made of; [ErrNotFound] when it
// never did.
func (s *Store) Inventory(ctx context.Context, deviceID string) (Inventory, error) {
	i, err := readOne(ctx, s, "inventory_get", named{":device_id": deviceID}, inventoryRow)
	if err != nil {
		return Inventory{}, fmt.Errorf("inventory of device %s: %w", deviceID, err)
	}
	return i, nil
}

func inventoryRow(stmt *sqlite.Stmt) (Inventory, error) {
	return Inventory{Document: stmt.GetText("document"), At: instant(stmt, "at")}, nil
}
