package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"zombiezen.com/go/sqlite"
)

// Actor is who does something, and from where.
type Actor struct {
	Name    string // an operator's name, or "console" for a command on the engine's host; empty: the engine or an agent
	Session string // id of the web session or of the API token; empty: neither
	Source  string // the address that it came from; empty: this host
}

// Record is one line of the audit chain: what happened. Lines are never changed
// nor removed. Detail holds up to [MaxDetail] bytes and the other texts up to
// [MaxText]; what is longer is cut, and what is not UTF-8 is replaced.
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
	Hash     [32]byte // the line's [Record.Digest] as it was stored; only read
	Hostname string   // of the device as it is called now; only read, never stored
}

// The longest texts of a [Record], in bytes.
const (
	MaxDetail = 4096
	MaxText   = 512
)

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

// by is the record's actor.
func (r Record) by() Actor { return Actor{Name: r.Actor, Session: r.Session, Source: r.Source} }

// otherwise is the record with what it leaves empty taken from another one.
func (r Record) otherwise(o Record) Record {
	if r.At.IsZero() {
		r.At = o.At
	}
	r.Actor = cmp.Or(r.Actor, o.Actor)
	r.Session = cmp.Or(r.Session, o.Session)
	r.Source = cmp.Or(r.Source, o.Source)
	r.Kind = cmp.Or(r.Kind, o.Kind)
	r.DeviceID = cmp.Or(r.DeviceID, o.DeviceID)
	r.TunnelID = cmp.Or(r.TunnelID, o.TunnelID)
	r.Target = cmp.Or(r.Target, o.Target)
	r.Result = cmp.Or(r.Result, o.Result)
	r.Reason = cmp.Or(r.Reason, o.Reason)
	r.Detail = cmp.Or(r.Detail, o.Detail)
	return r
}

// AddRecord appends r to the chain; its Seq, Hash and Hostname are ignored and a
// zero At is now.
func (s *Store) AddRecord(ctx context.Context, r Record) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		return record(conn, r)
	})
	if err != nil {
		return fmt.Errorf("add record %q: %w", r.Kind, err)
	}
	return nil
}

// record appends one line to the chain inside the caller's transaction, which must
// be one that writes: nobody else can append meanwhile.
func record(conn *sqlite.Conn, r Record) error {
	r, err := r.storable()
	if err != nil {
		return err
	}
	seq, last, err := head(conn)
	if err != nil {
		return err
	}
	r.Seq = seq + 1
	r.Hash = r.Digest(last)
	return run(conn, "record_add", named{
		":seq":       r.Seq,
		":at":        nanos(r.At),
		":actor":     r.Actor,
		":session":   r.Session,
		":source":    r.Source,
		":kind":      r.Kind,
		":device_id": text(r.DeviceID),
		":tunnel_id": text(r.TunnelID),
		":target":    r.Target,
		":result":    r.Result,
		":reason":    r.Reason,
		":detail":    r.Detail,
		":hash":      r.Hash[:],
	})
}

// storable is the record as it will be read back.
func (r Record) storable() (Record, error) {
	r.At, r.Result = orNow(r.At), cmp.Or(r.Result, Done)
	for _, field := range []*string{
		&r.Actor, &r.Session, &r.Source, &r.Kind, &r.DeviceID, &r.TunnelID, &r.Target, &r.Result, &r.Reason,
	} {
		*field = bounded(*field, MaxText)
	}
	r.Detail = bounded(r.Detail, MaxDetail)
	switch {
	case r.Kind == "":
		return Record{}, errors.New("a record needs a kind")
	case r.Result != Done && r.Result != Refused && r.Result != Failed:
		return Record{}, fmt.Errorf("a record's result is %q, not one of %s, %s and %s", r.Result, Done, Refused, Failed)
	}
	return r, nil
}

// bounded is s as valid UTF-8 without NUL, which SQLite's texts cannot hold, cut
// between two characters to at most that many bytes.
func bounded(s string, most int) string {
	const replacement = "\uFFFD"
	s = strings.ReplaceAll(strings.ToValidUTF8(s, replacement), "\x00", replacement)
	if len(s) <= most {
		return s
	}
	for !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

func recordRow(stmt *sqlite.Stmt) (Record, error) {
	r := Record{
		Seq:      stmt.GetInt64("seq"),
		At:       instant(stmt, "at"),
		Actor:    stmt.GetText("actor"),
		Session:  stmt.GetText("session"),
		Source:   stmt.GetText("source"),
		Kind:     stmt.GetText("kind"),
		DeviceID: stmt.GetText("device_id"),
		TunnelID: stmt.GetText("tunnel_id"),
		Target:   stmt.GetText("target"),
		Result:   stmt.GetText("result"),
		Reason:   stmt.GetText("reason"),
		Detail:   stmt.GetText("detail"),
		Hostname: stmt.GetText("hostname"),
	}
	stmt.GetBytes("hash", r.Hash[:])
	return r, nil
}
