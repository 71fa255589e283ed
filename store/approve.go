package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
)

// Decision is what becomes of the device that was known on the same machine as one
// that is approved.
type Decision string

// The decisions. The zero value decides nothing.
const (
	Replace  Decision = "replace"   // it is revoked
	KeepBoth Decision = "keep_both" // it stays as it is
)

// replacedBy is the reason why a device that was replaced is revoked.
const replacedBy = "replaced"

// ApproveDevice makes a pending or quarantined device active, with the record
// device_approved. When it replaces a device that is not revoked, decision says what
// becomes of that one; with [Replace] it is revoked in the same transaction, with
// the record device_revoked and the reason replaced. A device that is active already
// is left alone, without a record.
//
// The errors are [ErrNotFound], [ErrConflict] for a revoked device, and
// [ErrReplaces] when a decision is needed.
func (s *Store) ApproveDevice(ctx context.Context, id string, decision Decision, did Record) error {
	if decision != "" && decision != Replace && decision != KeepBoth {
		return fmt.Errorf("approve device %s: there is no decision %q", id, decision)
	}
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		d, err := queryOne(conn, "device_get", named{":id": id}, deviceRow)
		switch {
		case err != nil:
			return err
		case d.State == Active:
			return nil
		case d.State == Revoked:
			return fmt.Errorf("%w: it is revoked", ErrConflict)
		}
		if err := decide(conn, d, decision, did); err != nil {
			return err
		}
		return setDeviceState(conn, id, Active, did)
	})
	if err != nil {
		return fmt.Errorf("approve device %s: %w", id, err)
	}
	return nil
}

// decide does what was decided about the device that d replaces.
func decide(conn *sqlite.Conn, d Device, decision Decision, did Record) error {
	if d.Replaces == "" {
		return nil
	}
	other, err := queryOne(conn, "device_get", named{":id": d.Replaces}, deviceRow)
	if errors.Is(err, ErrNotFound) || err == nil && other.State == Revoked {
		return nil
	}
	switch {
	case err != nil:
		return err
	case decision == "":
		return fmt.Errorf("%w: %s (%s)", ErrReplaces, other.Hostname, other.ID)
	case decision == KeepBoth:
		return nil
	}
	gone := Record{At: did.At, Reason: replacedBy, Detail: "was " + other.State + "; replaced by device " + d.ID}
	return setDeviceState(conn, other.ID, Revoked, gone.By(did.by()))
}

// DenyDevice removes a device that waits for approval, with the record
// device_denied. Its key may enrol again. The errors are [ErrNotFound], and
// [ErrConflict] for a device that does not wait.
func (s *Store) DenyDevice(ctx context.Context, id string, did Record) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		d, err := queryOne(conn, "device_get", named{":id": id}, deviceRow)
		if err != nil {
			return err
		}
		if d.State != Pending {
			return fmt.Errorf("%w: it is %s", ErrConflict, d.State)
		}
		return forget(conn, d, did.otherwise(Record{Kind: deviceDenied}))
	})
	if err != nil {
		return fmt.Errorf("deny device %s: %w", id, err)
	}
	return nil
}

// ExpirePending removes the devices that have waited for approval since before a
// time, each with the record device_expired, and returns their ids. It writes nothing
// when there are none.
func (s *Store) ExpirePending(ctx context.Context, before time.Time) (ids []string, err error) {
	late := named{":before": nanos(before)}
	waiting, err := readAll(ctx, s, "device_list_waiting", late, deviceRow)
	if err == nil && len(waiting) > 0 {
		err = s.write(ctx, func(conn *sqlite.Conn) error {
			ids, err = expirePending(conn, late)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("expire pending devices: %w", err)
	}
	return ids, nil
}

func expirePending(conn *sqlite.Conn, late named) (ids []string, err error) {
	waiting, err := query(conn, "device_list_waiting", late, deviceRow)
	if err != nil {
		return nil, err
	}
	for _, d := range waiting {
		ids = append(ids, d.ID)
		if err := forget(conn, d, Record{Kind: deviceExpired}); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// forget removes a pending device, and records did.
func forget(conn *sqlite.Conn, d Device, did Record) error {
	if err := run(conn, "override_clear", named{":device_id": d.ID}); err != nil {
		return err
	}
	if err := run(conn, "lock_delete", named{":kind": LockDevice, ":target": d.ID}); err != nil {
		return err
	}
	if err := runOne(conn, "device_delete", named{":id": d.ID}); err != nil {
		return err
	}
	return record(conn, did.otherwise(Record{
		DeviceID: d.ID, Target: d.Hostname, Detail: "waited since " + d.CreatedAt.Format(time.RFC3339) + "; site " + d.Site + ", key " + d.Pin,
	}))
}
