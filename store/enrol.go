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
// A machine that another device is known on, with another pin and not revoked, waits
// for approval whatever the code says, and Replaces is that device's id.
//
// The record is device_enrolled; an actor that did leaves empty is who made the code.
//
// The error is [ErrCode], [ErrCodeExpired], [ErrCodeUsed] or [ErrTooManyPending];
// no use is taken then.
func (s *Store) RedeemCode(ctx context.Context, hash [32]byte, d Device, now time.Time, did Record) (Device, error) {
	if len(d.Pin) != pinLength {
		return Device{}, fmt.Errorf("redeem enrolment code: the pin must have %d characters, not %d", pinLength, len(d.Pin))
	}
	var stored Device
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		code, err := useCode(conn, hash, now)
		if err != nil {
			return err
		}
		stored, err = enrol(conn, code, d, now, did)
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
func enrol(conn *sqlite.Conn, code Code, d Device, now time.Time, did Record) (Device, error) {
	known, err := query(conn, "device_by_pin", named{":pin": d.Pin}, deviceRow)
	if err != nil {
		return Device{}, err
	}
	again := len(known) > 0
	if again {
		d.ID, d.State, d.VirtualIP, d.CreatedAt = known[0].ID, known[0].State, known[0].VirtualIP, known[0].CreatedAt
		d.Replaces = known[0].Replaces
	} else {
		d.ID, d.CreatedAt = fill(d.ID, now)
		d.State, d.VirtualIP, d.Replaces = Pending, netip.Addr{}, ""
	}
	d.Site, d.LastSeen = code.Site, utc(now)
	if d.State == Pending {
		if d.Replaces, err = replaced(conn, d); err != nil {
			return Device{}, err
		}
		if code.AutoApprove && d.Replaces == "" {
			d.State = Active
		}
	}
	if again {
		err = run(conn, "device_enrol_again", enrolArgs(d))
	} else {
		err = addDevice(conn, d)
	}
	if err != nil {
		return Device{}, err
	}
	return d, record(conn, did.otherwise(Record{
		At: now, DeviceID: d.ID, Actor: code.CreatedBy, Kind: deviceEnrolled, Target: d.Hostname, Detail: enrolDetail(code, d, again),
	}))
}

// replaced returns the id of the device that a pending one takes the place of, if any.
func replaced(conn *sqlite.Conn, d Device) (string, error) {
	if d.Replaces != "" { // what it says of its machine now does not undo that
		return d.Replaces, nil
	}
	found, err := query(conn, "device_by_machine", named{":machine": d.Machine, ":pin": d.Pin}, deviceRow)
	if err != nil || len(found) == 0 {
		return "", err
	}
	return found[0].ID, nil
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
		":replaces":      d.Replaces,
		":last_seen":     nanos(d.LastSeen),
	}
}

// enrolDetail says for the record how a device came in.
func enrolDetail(code Code, d Device, again bool) string {
	detail := "with code " + code.ID
	if again {
		detail = "again, " + detail
	}
	if code.AutoApprove && d.State == Active {
		detail += ", which approves by itself"
	}
	if d.Replaces != "" {
		detail += ", on the machine of device " + d.Replaces
	}
	return detail
}
