package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// The states of a device.
const (
	Pending     = "pending"     // waits for an operator's approval
	Active      = "active"      // may have tunnels
	Quarantined = "quarantined" // set aside until an operator decides
	Revoked     = "revoked"     // no longer trusted
)

// Device is a managed machine. It is known by the pin of its key; what it says
// about itself is not to be trusted.
type Device struct {
	ID           string // UUIDv7
	Hostname     string
	OS           string
	OSVersion    string
	Arch         string
	AgentVersion string
	Link         string // how its agent does WireGuard
	Machine      string // fingerprint of the machine
	Pin          string // of its identity key, 52 characters
	State        string
	Site         string
	Replaces     string     // id of the device that was known on the same machine when this one enrolled; empty: none
	VirtualIP    netip.Addr // zero until one was leased
	CreatedAt    time.Time
	LastSeen     time.Time
}

// DeviceQuery chooses devices. The zero value chooses none, for its scope is empty.
type DeviceQuery struct {
	Scope  Scope
	State  string // empty: any
	Text   string // part of the host name, site or OS in any case, or a whole id or virtual IP; empty: all
	Limit  int    // zero: [PageSize]; never more than [MaxPage]
	Offset int    // how many to leave out at the beginning
}

// DeviceFacts is what an agent says about itself each time it connects.
type DeviceFacts struct {
	Hostname, OS, OSVersion, Arch, AgentVersion, Link string

	Seen time.Time // when it said so
}

// Device returns the device with that id, or [ErrNotFound].
func (s *Store) Device(ctx context.Context, id string) (Device, error) {
	d, err := readOne(ctx, s, "device_get", named{":id": id}, deviceRow)
	if err != nil {
		return Device{}, fmt.Errorf("device %s: %w", id, err)
	}
	return d, nil
}

// DeviceByPin returns the device whose identity key has that pin, or
// [ErrNotFound].
func (s *Store) DeviceByPin(ctx context.Context, pin string) (Device, error) {
	d, err := readOne(ctx, s, "device_by_pin", named{":pin": pin}, deviceRow)
	if err != nil {
		return Device{}, fmt.Errorf("device with pin %s: %w", pin, err)
	}
	return d, nil
}

// Devices returns the devices that q asks for, by host name and then id, and how
// many there are without Limit and Offset.
func (s *Store) Devices(ctx context.Context, q DeviceQuery) (devices []Device, total int, err error) {
	find := named{":text": strings.TrimSpace(q.Text), ":address": nil, ":state": q.State, ":all": q.Scope.All, ":sites": encodeStrings(q.Scope.Sites)}
	if a, err := netip.ParseAddr(strings.TrimSpace(q.Text)); err == nil && a.Is4() {
		find[":address"] = int64(number(a))
	}
	list := maps.Clone(find)
	list[":limit"], list[":offset"] = page(q.Limit), q.Offset
	err = s.read(ctx, func(conn *sqlite.Conn) (err error) {
		defer sqlitex.Transaction(conn)(&err) // both statements see the same moment
		total, err = queryOne(conn, "device_count", find, countRow)
		if err != nil {
			return err
		}
		devices, err = query(conn, "device_list", list, deviceRow)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list devices: %w", err)
	}
	return devices, total, nil
}

// UpdateDevice stores what an agent says about itself; an earlier Seen than the
// one noted does not go back. The error is [ErrNotFound] for an unknown id.
func (s *Store) UpdateDevice(ctx context.Context, id string, f DeviceFacts) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return runOne(conn, "device_update", named{
			":id":            id,
			":hostname":      f.Hostname,
			":os":            f.OS,
			":os_version":    f.OSVersion,
			":arch":          f.Arch,
			":agent_version": f.AgentVersion,
			":link":          f.Link,
			":seen":          nanos(f.Seen),
		})
	})
	if err != nil {
		return fmt.Errorf("update device %s: %w", id, err)
	}
	return nil
}

// SeenDevice notes that a device was in touch; an earlier time than the one noted
// changes nothing. The error is [ErrNotFound] for an unknown id.
func (s *Store) SeenDevice(ctx context.Context, id string, at time.Time) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return runOne(conn, "device_seen", named{":id": id, ":seen": nanos(at)})
	})
	if err != nil {
		return fmt.Errorf("note that device %s was seen: %w", id, err)
	}
	return nil
}

// Sites returns the names of the sites that devices are at, sorted.
func (s *Store) Sites(ctx context.Context) ([]string, error) {
	all, err := readAll(ctx, s, "site_list", nil, siteRow)
	if err != nil {
		return nil, fmt.Errorf("list sites: %w", err)
	}
	return all, nil
}

// SetDeviceState makes a device [Active], [Quarantined] or [Revoked], with the
// record device_approved, device_quarantined or device_revoked. A device that is so
// already is left alone, without a record. The error is [ErrNotFound] for an unknown
// id.
func (s *Store) SetDeviceState(ctx context.Context, id, state string, at time.Time, did Record) error {
	if did.At.IsZero() {
		did.At = at
	}
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return setDeviceState(conn, id, state, did)
	})
	if err != nil {
		return fmt.Errorf("set state of device %s: %w", id, err)
	}
	return nil
}

func setDeviceState(conn *sqlite.Conn, id, state string, did Record) error {
	kind, err := stateKind(state)
	if err != nil {
		return err
	}
	d, err := queryOne(conn, "device_get", named{":id": id}, deviceRow)
	if err != nil || d.State == state {
		return err
	}
	if err := runOne(conn, "device_set_state", named{":id": id, ":state": state}); err != nil {
		return err
	}
	return record(conn, did.otherwise(Record{DeviceID: id, Kind: kind, Detail: "was " + d.State}))
}

// stateKind is the activity that puts a device into a state.
func stateKind(state string) (string, error) {
	switch state {
	case Active:
		return deviceApproved, nil
	case Quarantined:
		return deviceQuarantined, nil
	case Revoked:
		return deviceRevoked, nil
	case Pending:
		return "", errors.New("a device cannot become pending again")
	default:
		return "", fmt.Errorf("unknown state %q", state)
	}
}

func countRow(stmt *sqlite.Stmt) (int, error) {
	return int(stmt.GetInt64("count")), nil
}

func deviceRow(stmt *sqlite.Stmt) (Device, error) {
	return Device{
		ID:           stmt.GetText("id"),
		Hostname:     stmt.GetText("hostname"),
		OS:           stmt.GetText("os"),
		OSVersion:    stmt.GetText("os_version"),
		Arch:         stmt.GetText("arch"),
		AgentVersion: stmt.GetText("agent_version"),
		Link:         stmt.GetText("link"),
		Machine:      stmt.GetText("machine"),
		Pin:          stmt.GetText("pin"),
		State:        stmt.GetText("state"),
		Site:         stmt.GetText("site"),
		Replaces:     stmt.GetText("replaces"),
		VirtualIP:    address(stmt, "virtual_ip"),
		CreatedAt:    instant(stmt, "created_at"),
		LastSeen:     instant(stmt, "last_seen"),
	}, nil
}

func siteRow(stmt *sqlite.Stmt) (string, error) { return stmt.GetText("site"), nil }
