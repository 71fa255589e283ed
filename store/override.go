package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"
)

// Backstops against a set that no caller should ask for.
const (
	maxCustomOverrides  = 64 // custom ports of one device
	maxServiceOverrides = 64 // services of one device
)

// Override is what somebody decided about one built-in service or one custom port of
// a device.
type Override struct {
	Service  string // id of the service; empty for a custom port
	Protocol string // tcp or udp; empty for a service
	From, To uint16 // first and last port; zero for a service
	Label    string // of a custom port
	Allowed  bool
	Until    time.Time // when it expires; zero: never
	Reason   string
	By       string // name of the operator who decided it
	At       time.Time
}

// Overrides returns what was decided about a device, services first, and the
// revision of that, which is zero while nothing ever was. The error is [ErrNotFound]
// for an unknown device. What has expired is there until [Store.ExpireOverrides].
func (s *Store) Overrides(ctx context.Context, deviceID string) (revision int64, all []Override, err error) {
	err = s.read(ctx, func(conn *sqlite.Conn) error {
		revision, all, err = overrides(conn, deviceID)
		return err
	})
	if err != nil {
		return 0, nil, fmt.Errorf("overrides of device %s: %w", deviceID, err)
	}
	return revision, all, nil
}

// overrides reads revision and overrides in one statement, so that they belong
// together.
func overrides(conn *sqlite.Conn, deviceID string) (revision int64, all []Override, err error) {
	known := false
	rows, err := query(conn, "override_list", named{":device_id": deviceID}, func(stmt *sqlite.Stmt) (Override, error) {
		known, revision = true, stmt.GetInt64("ports_revision")
		if stmt.IsNull("service") { // a device without overrides
			return Override{}, nil
		}
		return overrideRow(stmt)
	})
	switch {
	case err != nil:
		return 0, nil, err
	case !known:
		return 0, nil, ErrNotFound
	}
	return revision, slices.DeleteFunc(rows, func(o Override) bool { return o == Override{} }), nil
}

// SetOverrides makes all the whole set of a device's overrides and records did, in
// one transaction, and returns the new revision. revision is the one that the caller
// has seen: the error is [ErrRevision] when the set was changed since, and
// [ErrNotFound] for an unknown device. What did leaves empty is filled in: the
// device, the time, and ports_changed as its kind; without did one such line is
// recorded.
func (s *Store) SetOverrides(ctx context.Context, deviceID string, revision int64, all []Override, did ...Record) (int64, error) {
	err := checkOverrides(all)
	if err == nil {
		err = s.write(ctx, func(conn *sqlite.Conn) error {
			return setOverrides(conn, deviceID, revision, all, did)
		})
	}
	if err != nil {
		return 0, fmt.Errorf("set overrides of device %s: %w", deviceID, err)
	}
	return revision + 1, nil
}

func checkOverrides(all []Override) error {
	services := 0
	for _, o := range all {
		if o.Service != "" {
			services++
		}
	}
	if custom := len(all) - services; custom > maxCustomOverrides || services > maxServiceOverrides {
		return fmt.Errorf("%d custom ports and %d services are too many", custom, services)
	}
	return nil
}

func setOverrides(conn *sqlite.Conn, deviceID string, revision int64, all []Override, did []Record) error {
	stored, _, err := overrides(conn, deviceID)
	if err != nil {
		return err
	}
	if stored != revision {
		return fmt.Errorf("%w: it is %d now, not %d", ErrRevision, stored, revision)
	}
	if err := run(conn, "override_clear", named{":device_id": deviceID}); err != nil {
		return err
	}
	for _, o := range all {
		if err := addOverride(conn, deviceID, o); err != nil {
			return err
		}
	}
	if err := runOne(conn, "override_revise", named{":device_id": deviceID}); err != nil {
		return err
	}
	if len(did) == 0 {
		did = []Record{{}}
	}
	for _, a := range did {
		if err := record(conn, a.otherwise(Record{DeviceID: deviceID, Kind: portsChanged})); err != nil {
			return err
		}
	}
	return nil
}

func addOverride(conn *sqlite.Conn, deviceID string, o Override) error {
	return run(conn, "override_add", named{
		":device_id":  deviceID,
		":service":    o.Service,
		":protocol":   o.Protocol,
		":first_port": int64(o.From),
		":last_port":  int64(o.To),
		":label":      o.Label,
		":allowed":    o.Allowed,
		":until":      optional(o.Until),
		":reason":     o.Reason,
		":decided_by": o.By,
		":decided_at": nanos(orNow(o.At)),
	})
}

// ExpireOverrides removes every override that has expired at now, records each as
// port_override_expired, and returns the devices concerned, whose revisions have
// grown. It is one transaction, and writes nothing when nothing has expired.
func (s *Store) ExpireOverrides(ctx context.Context, now time.Time) (deviceIDs []string, err error) {
	next, err := s.NextExpiry(ctx)
	if err != nil || next.IsZero() || now.Before(next) {
		return nil, err
	}
	err = s.write(ctx, func(conn *sqlite.Conn) error {
		deviceIDs, err = expireOverrides(conn, now)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("expire overrides: %w", err)
	}
	return deviceIDs, nil
}

func expireOverrides(conn *sqlite.Conn, now time.Time) (deviceIDs []string, err error) {
	_, err = query(conn, "override_list_expired", named{":now": nanos(now)}, func(stmt *sqlite.Stmt) (struct{}, error) {
		id := stmt.GetText("device_id")
		if !slices.Contains(deviceIDs, id) {
			deviceIDs = append(deviceIDs, id)
		}
		o, err := overrideRow(stmt)
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, record(conn, Record{At: now, DeviceID: id, Kind: portOverrideExpired, Detail: o.describe()})
	})
	if err != nil || len(deviceIDs) == 0 {
		return nil, err
	}
	if err := run(conn, "override_delete_expired", named{":now": nanos(now)}); err != nil {
		return nil, err
	}
	for _, id := range deviceIDs {
		if err := runOne(conn, "override_revise", named{":device_id": id}); err != nil {
			return nil, err
		}
	}
	return deviceIDs, nil
}

// NextExpiry returns when the next override expires; zero when none does.
func (s *Store) NextExpiry(ctx context.Context) (time.Time, error) {
	next, err := readOne(ctx, s, "override_next_expiry", nil, func(stmt *sqlite.Stmt) (time.Time, error) {
		return instant(stmt, "until"), nil
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("look for the next expiry of an override: %w", err)
	}
	return next, nil
}

// describe says for people what an override was.
func (o Override) describe() string {
	what, did := o.Service, "closed"
	if o.Service == "" {
		what = fmt.Sprintf("%d-%d/%s", o.From, o.To, o.Protocol)
		if o.From == o.To {
			what = fmt.Sprintf("%d/%s", o.From, o.Protocol)
		}
		if o.Label != "" {
			what += " (" + o.Label + ")"
		}
	}
	if o.Allowed {
		did = "allowed"
	}
	if o.By != "" {
		did += " by " + o.By
	}
	return fmt.Sprintf("%s was %s until %s", what, did, o.Until.UTC().Format("2006-01-02 15:04 UTC"))
}

func overrideRow(stmt *sqlite.Stmt) (Override, error) {
	return Override{
		Service:  stmt.GetText("service"),
		Protocol: stmt.GetText("protocol"),
		From:     uint16(stmt.GetInt64("first_port")), // #nosec G115 -- the schema allows ports only
		To:       uint16(stmt.GetInt64("last_port")),  // #nosec G115 -- the schema allows ports only
		Label:    stmt.GetText("label"),
		Allowed:  stmt.GetInt64("allowed") != 0,
		Until:    instant(stmt, "until"),
		Reason:   stmt.GetText("reason"),
		By:       stmt.GetText("decided_by"),
		At:       instant(stmt, "decided_at"),
	}, nil
}
