package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"
)

func TestInventory(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	devices := addDevices(t, s, 2)
	if _, err := s.Inventory(ctx, devices[0].ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("before it said anything: %v, want ErrNotFound", err)
	}
	for n, want := range []Inventory{
		{Document: `{"cpu":"one"}`, At: noon},
		{Document: `{"cpu":"two, <b>ünïcode</b>"}`, At: noon.Add(time.Minute)},
		{Document: `{"cpu":"the clock was set back"}`, At: noon.Add(-time.Hour)},
		{Document: `"` + strings.Repeat("x", MaxInventory-2) + `"`, At: noon},
	} {
		if err := s.SetInventory(ctx, devices[0].ID, want); err != nil {
			t.Fatal(err)
		}
		got, err := s.Inventory(ctx, devices[0].ID)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%d: %v (-want +got):\n%.500s", n, err, diff)
		}
	}
	if _, err := s.Inventory(ctx, devices[1].ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("the other device: %v, want ErrNotFound", err)
	}
	if err := s.SetInventory(ctx, "none", Inventory{Document: "{}"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown device: %v, want ErrNotFound", err)
	}
	for _, bad := range []string{"", "no JSON", `{"a":`, `"` + strings.Repeat("é", MaxInventory/2) + `"`} {
		if err := s.SetInventory(ctx, devices[1].ID, Inventory{Document: bad}); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%.20q is stored: %v", bad, err)
		}
	}
}

// TestInventoryGoesWithItsDevice: of a newcomer who is turned away, nothing stays.
func TestInventoryGoesWithItsDevice(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	addCode(t, s, "secret", Code{})
	d, err := s.RedeemCode(ctx, hash("secret"), Device{Pin: pin(1)}, noon, Record{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetInventory(ctx, d.ID, Inventory{Document: "{}", At: noon}); err != nil {
		t.Fatal(err)
	}
	if err := s.DenyDevice(ctx, d.ID, Record{}); err != nil {
		t.Fatal(err)
	}
	rows(t, openRaw(t, s.path(t)), "SELECT device_id FROM inventory", func(stmt *sqlite.Stmt) {
		t.Errorf("the inventory of %s is still there", stmt.ColumnText(0))
	})
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
}
