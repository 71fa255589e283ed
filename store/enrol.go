package store

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"zombiezen.com/go/sqlite"
)

// pinLength is the length of a pin's text: 32 bytes in base32.
const pinLength = 52

// RedeemCode takes one use of the enrolment code whose secret has that SHA-256
// and stores d for it, with a record, all in one transaction. It returns the
// device as stored: an empty ID is made, CreatedAt and LastSeen are now, the site
// is the code's, and the state is [Active] when the code approves by itself and
// [Pending] otherwise.
//
// A device whose pin is known is not stored twice: the row is refreshed from d,
// keeps its id, and keeps its state but for a pending one that the code approves.
// A revoked device stays revoked.
//
// The error is [ErrCode], [ErrCodeExpired], [ErrCodeUsed] or [ErrTooManyPending];
// no use is taken then.
func (s *Store) RedeemCode(ctx context.Context, hash [32]byte, d Device, now time.Time) (Device, error) {
	if len(d.Pin) != pinLength {
		return Device{}, fmt.Errorf("redeem enrolment code: the pin must have %d characters, not %d", pinLength, len(d.Pin))
	}
	var stored Device
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		code, err := useCode(conn, hash, now)
		if err != nil {
			return err
		}
		stored, err = enrol(conn, code, d, now)
		return err
	})
	if err != nil {
		return Device{}, fmt.Errorf("redeem enrolment code: %w", err)
	}
	return stored, nil
}

// useCode takes one use of a code.
func useCode(conn *sqlite.Conn, hash [32]byte, now time.Time) (Code, error) {
	found, err := query(conn, "code_by_hash", named{":code_hash": hash[:]}, codeRow)
	switch {
	case err != nil:
		return Code{}, err
	case len(found) == 0:
		return Code{}, ErrCode
	case !now.Before(found[0].ExpiresAt):
		return Code{}, ErrCodeExpired
	}
	if err := run(conn, "code_use", named{":id": found[0].ID}); err != nil {
		return Code{}, err
	}
	if conn.Changes() == 0 {
		return Code{}, ErrCodeUsed
	}
	return found[0], nil
}

// enrol stores or refreshes a device that came with a code.
func enrol(conn *sqlite.Conn, code Code, d Device, now time.Time) (Device, error) {
	known, err := query(conn, "device_by_pin", named{":pin": d.Pin}, deviceRow)
	if err != nil {
		return Device{}, err
	}
	again := len(known) > 0
	if again {
		d.ID, d.State, d.VirtualIP, d.CreatedAt = known[0].ID, known[0].State, known[0].VirtualIP, known[0].CreatedAt
	} else {
		d.ID, d.CreatedAt = fill(d.ID, now)
		d.State, d.VirtualIP = Pending, netip.Addr{}
	}
	d.Site, d.LastSeen = code.Site, utc(now)
	approved := d.State == Pending && code.AutoApprove
	if approved {
		d.State = Active
	}
	if again {
		err = run(conn, "device_enrol_again", enrolArgs(d))
	} else {
		err = addDevice(conn, d)
	}
	if err != nil {
		return Device{}, err
	}
	return d, record(conn, Record{
		At:       now,
		DeviceID: d.ID,
		Actor:    code.CreatedBy,
		Kind:     deviceEnrolled,
		Detail:   enrolDetail(code, again, approved),
	})
}

// addDevice stores a new device, unless too many wait for approval already.
func addDevice(conn *sqlite.Conn, d Device) error {
	if d.State == Pending {
		waiting, err := queryOne(conn, "device_pending_count", nil, countRow)
		if err != nil {
			return err
		}
		if waiting >= MaxPending {
			return ErrTooManyPending
		}
	}
	args := enrolArgs(d)
	args[":pin"], args[":created_at"] = d.Pin, nanos(d.CreatedAt)
	return run(conn, "device_add", args)
}

// enrolArgs is what every enrolment writes into the device's row.
func enrolArgs(d Device) named {
	return named{
		":id":            d.ID,
		":state":         d.State,
		":hostname":      d.Hostname,
		":os":            d.OS,
		":os_version":    d.OSVersion,
		":arch":          d.Arch,
		":agent_version": d.AgentVersion,
		":link":          d.Link,
		":machine":       d.Machine,
		":site":          d.Site,
		":last_seen":     nanos(d.LastSeen),
	}
}

// enrolDetail says for the record how a device came in.
func enrolDetail(code Code, again, approved bool) string {
	detail := "with code " + code.ID
	if again {
		detail = "again, " + detail
	}
	if approved {
		detail += ", which approves by itself"
	}
	return detail
}
