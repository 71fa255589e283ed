package store

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
)

// What can be locked.
const (
	LockOperator = "operator"
	LockDevice   = "device"
	LockSite     = "site"
)

// Lock keeps an operator out, or keeps everybody from a device or a site. There is
// at most one of each target.
type Lock struct {
	Kind   string // [LockOperator], [LockDevice] or [LockSite]
	Target string // id of the operator or device, or the site's name
	Name   string // of the target, for people
	Reason string
	By     string // name of the operator who locked it
	At     time.Time
	Until  time.Time // when it ends by itself; zero: when it is lifted
}

// AddLock stores l, with the record locked. An empty Name and By and a zero At are
// filled in: from the target, from did, and now. The errors are [ErrConflict] when
// the target is locked already, [ErrNotFound] when there is no such operator or
// device, or no device of such a site, and [ErrLastAdmin].
func (s *Store) AddLock(ctx context.Context, l Lock, did Record) error {
	l.At, l.Until = orNow(l.At), utc(l.Until)
	if !l.Until.IsZero() && !l.Until.After(l.At) {
		return fmt.Errorf("lock %s %s: it would end before it begins", l.Kind, l.Target)
	}
	if did.At.IsZero() {
		did.At = l.At
	}
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		name, err := lockName(conn, l.Kind, l.Target)
		if err != nil {
			return err
		}
		l.Name, l.By = cmp.Or(l.Name, name), cmp.Or(l.By, did.Actor)
		if err := expireLocks(conn, l.At); err != nil { // an old one of the same target is not in the way
			return err
		}
		if err := keepAdmin(conn, did, func() error { return addLock(conn, l) }); err != nil {
			return err
		}
		return record(conn, did.otherwise(l.record(lockAdded)))
	})
	if err != nil {
		return fmt.Errorf("lock %s %s: %w", l.Kind, l.Target, err)
	}
	return nil
}

func addLock(conn *sqlite.Conn, l Lock) error {
	return run(conn, "lock_add", named{
		":kind":      l.Kind,
		":target":    l.Target,
		":name":      l.Name,
		":reason":    l.Reason,
		":locked_by": l.By,
		":at":        nanos(l.At),
		":until":     optional(l.Until),
	})
}

// lockName returns what people call the target of a lock, or [ErrNotFound].
func lockName(conn *sqlite.Conn, kind, target string) (string, error) {
	switch kind {
	case LockOperator:
		o, err := queryOne(conn, "operator_get", named{":id": target}, operatorRow)
		return o.Name, err
	case LockDevice:
		d, err := queryOne(conn, "device_get", named{":id": target}, deviceRow)
		return d.Hostname, err
	case LockSite:
		return queryOne(conn, "site_get", named{":site": target}, siteRow)
	default:
		return "", fmt.Errorf("a lock is of an operator, a device or a site, not of %q", kind)
	}
}

// DeleteLock lifts a lock, with the record unlocked, or answers [ErrNotFound].
func (s *Store) DeleteLock(ctx context.Context, kind, target string, did Record) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		l, err := queryOne(conn, "lock_get", named{":kind": kind, ":target": target}, lockRow)
		if err != nil {
			return err
		}
		if err := runOne(conn, "lock_delete", named{":kind": kind, ":target": target}); err != nil {
			return err
		}
		lifted := l.record(lockRemoved)
		lifted.Reason = ""
		return record(conn, did.otherwise(lifted))
	})
	if err != nil {
		return fmt.Errorf("unlock %s %s: %w", kind, target, err)
	}
	return nil
}

// Locks returns the locks that are in force at now, newest first.
func (s *Store) Locks(ctx context.Context, now time.Time) ([]Lock, error) {
	all, err := readAll(ctx, s, "lock_list", named{":now": nanos(now)}, lockRow)
	if err != nil {
		return nil, fmt.Errorf("list locks: %w", err)
	}
	return all, nil
}

// ExpireLocks removes the locks that have ended at now, each with the record
// lock_expired. It writes nothing when none has.
func (s *Store) ExpireLocks(ctx context.Context, now time.Time) error {
	ended, err := readAll(ctx, s, "lock_list_expired", named{":now": nanos(now)}, lockRow)
	if err == nil && len(ended) > 0 {
		err = s.write(ctx, func(conn *sqlite.Conn) error { return expireLocks(conn, now) })
	}
	if err != nil {
		return fmt.Errorf("expire locks: %w", err)
	}
	return nil
}

func expireLocks(conn *sqlite.Conn, now time.Time) error {
	ended, err := query(conn, "lock_list_expired", named{":now": nanos(now)}, lockRow)
	if err != nil {
		return err
	}
	for _, l := range ended {
		if err := runOne(conn, "lock_delete", named{":kind": l.Kind, ":target": l.Target}); err != nil {
			return err
		}
		did := l.record(lockExpired)
		did.At = now
		if err := record(conn, did); err != nil {
			return err
		}
	}
	return nil
}

// record is what a record about the lock says by itself.
func (l Lock) record(kind string) Record {
	r := Record{Kind: kind, Target: l.Name, Reason: l.Reason, Detail: l.Kind}
	if l.Kind == LockDevice {
		r.DeviceID = l.Target
	}
	if !l.Until.IsZero() {
		r.Detail += ", until " + l.Until.Format(time.RFC3339)
	}
	return r
}

func lockRow(stmt *sqlite.Stmt) (Lock, error) {
	return Lock{
		Kind:   stmt.GetText("kind"),
		Target: stmt.GetText("target"),
		Name:   stmt.GetText("name"),
		Reason: stmt.GetText("reason"),
		By:     stmt.GetText("locked_by"),
		At:     instant(stmt, "at"),
		Until:  instant(stmt, "until"),
	}, nil
}
