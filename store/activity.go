package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
)

// MaxPage is the most rows that a query with a limit returns; PageSize is what
// it returns when no limit is given.
const (
	MaxPage  = 1000
	PageSize = 100
)

// Kinds of activity that the store records by itself.
const (
	deviceEnrolled    = "device_enrolled"
	deviceApproved    = "device_approved"
	deviceQuarantined = "device_quarantined"
	deviceRevoked     = "device_revoked"
	tunnelRequested   = "tunnel_requested"
	tunnelDown        = "tunnel_down"

	portsChanged        = "ports_changed"
	portOverrideExpired = "port_override_expired"
)

// Activity is one line of what happened. Lines are never changed nor removed.
type Activity struct {
	ID       int64 // grows with each line
	At       time.Time
	DeviceID string // empty when no device is concerned
	TunnelID string // empty when no tunnel is concerned
	Actor    string // an operator's name, or empty for the engine and the agent
	Kind     string // snake_case event name, such as tunnel_up
	Reason   string
	Detail   string
	Hostname string // of the device as it is called now; only read, never stored
}

// ActivityQuery chooses lines of activity.
type ActivityQuery struct {
	DeviceID string // empty: of all devices and of none
	Before   int64  // only lines with a smaller id, to continue a list; zero: from the newest
	Limit    int    // zero: [PageSize]; never more than [MaxPage]
}

// AddActivity records a; its ID and Hostname are ignored and a zero At is now.
func (s *Store) AddActivity(ctx context.Context, a Activity) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return record(conn, a)
	})
	if err != nil {
		return fmt.Errorf("add activity %q: %w", a.Kind, err)
	}
	return nil
}

// Activities returns the lines that q asks for, newest first.
func (s *Store) Activities(ctx context.Context, q ActivityQuery) ([]Activity, error) {
	file, args := "activity_list", named{":before": q.Before, ":limit": page(q.Limit)}
	if q.DeviceID != "" {
		file = "activity_list_device"
		args[":device_id"] = q.DeviceID
	}
	all, err := readAll(ctx, s, file, args, activityRow)
	if err != nil {
		return nil, fmt.Errorf("list activity: %w", err)
	}
	return all, nil
}

// record writes one line of activity inside the caller's transaction.
func record(conn *sqlite.Conn, a Activity) error {
	if a.Kind == "" {
		return errors.New("record activity: the kind must not be empty")
	}
	return run(conn, "activity_add", named{
		":at":        nanos(orNow(a.At)),
		":device_id": text(a.DeviceID),
		":tunnel_id": text(a.TunnelID),
		":actor":     a.Actor,
		":kind":      a.Kind,
		":reason":    a.Reason,
		":detail":    a.Detail,
	})
}

// page is the number of rows to ask the database for.
func page(limit int) int {
	if limit <= 0 {
		return PageSize
	}
	return min(limit, MaxPage)
}

func activityRow(stmt *sqlite.Stmt) (Activity, error) {
	return Activity{
		ID:       stmt.GetInt64("id"),
		At:       instant(stmt, "at"),
		DeviceID: stmt.GetText("device_id"),
		TunnelID: stmt.GetText("tunnel_id"),
		Actor:    stmt.GetText("actor"),
		Kind:     stmt.GetText("kind"),
		Reason:   stmt.GetText("reason"),
		Detail:   stmt.GetText("detail"),
		Hostname: stmt.GetText("hostname"),
	}, nil
}
