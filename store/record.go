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

// Actor is who does something, and from where.
type Actor struct {
	Name    string // an operator's name, or "console" for a command on the engine's host; empty: the engine or an agent
	Session string // id of the web session or of the API token; empty: neither
	Source  string // the address that it came from; empty: this host
}

// Record is one line of what happened. Lines are never changed nor removed.
type Record struct {
	Seq      int64 // 1 for the first line, and one more for each that follows
	At       time.Time
	Actor    string // name of the [Actor]
	Session  string // of the [Actor]
	Source   string // of the [Actor]
	Kind     string // snake_case event name, such as tunnel_up
	DeviceID string // empty when no device is concerned
	TunnelID string // empty when no tunnel is concerned
	Target   string // whatever else is concerned: an operator's name, a site, the id of a code or a session
	Result   string // [Done], [Refused] or [Failed]; empty is Done
	Reason   string
	Detail   string
	Hostname string // of the device as it is called now; only read, never stored
}

// What came of something that is on record.
const (
	Done    = "done"
	Refused = "refused" // somebody may not do it
	Failed  = "failed"  // it did not work
)

// By is the record with an actor.
func (r Record) By(a Actor) Record {
	r.Actor, r.Session, r.Source = a.Name, a.Session, a.Source
	return r
}

// RecordQuery chooses lines of activity.
type RecordQuery struct {
	DeviceID string // empty: of all devices and of none
	Before   int64  // only lines with a smaller Seq, to continue a list; zero: from the newest
	Limit    int    // zero: [PageSize]; never more than [MaxPage]
}

// AddRecord records a; its Seq and Hostname are ignored and a zero At is now.
func (s *Store) AddRecord(ctx context.Context, a Record) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return record(conn, a)
	})
	if err != nil {
		return fmt.Errorf("add activity %q: %w", a.Kind, err)
	}
	return nil
}

// Records returns the lines that q asks for, newest first.
func (s *Store) Records(ctx context.Context, q RecordQuery) ([]Record, error) {
	file, args := "record_list", named{":before": q.Before, ":limit": page(q.Limit)}
	if q.DeviceID != "" {
		file = "record_list_device"
		args[":device_id"] = q.DeviceID
	}
	all, err := readAll(ctx, s, file, args, recordRow)
	if err != nil {
		return nil, fmt.Errorf("list activity: %w", err)
	}
	return all, nil
}

// record writes one line of activity inside the caller's transaction.
func record(conn *sqlite.Conn, a Record) error {
	if a.Kind == "" {
		return errors.New("record activity: the kind must not be empty")
	}
	return run(conn, "record_add", named{
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

func recordRow(stmt *sqlite.Stmt) (Record, error) {
	return Record{
		Seq:      stmt.GetInt64("id"),
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
