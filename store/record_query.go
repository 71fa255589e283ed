package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"
)

// MaxPage is the most rows that a query with a limit returns; PageSize is what
// it returns when no limit is given.
const (
	MaxPage  = 1000
	PageSize = 100
)

// RecordQuery chooses lines of the audit chain. What is empty or zero does not
// matter, but for the scope: its zero value chooses nothing.
type RecordQuery struct {
	Scope       Scope // without All only lines about devices whose site is in it
	DevicesOnly bool  // only lines about devices
	Quiet       bool  // of each tunnel only the line in which it was requested
	DeviceID    string
	TunnelID    string
	Actor       string // the whole name
	Kind        string
	Result      string
	Text        string    // part of what a line says, or of its device's host name; the case of a to z does not matter
	From, To    time.Time // lines not before From, and before To
	Before      int64     // only lines with a smaller Seq, to go on with a list
	After       int64     // only lines with a greater Seq
	Limit       int       // zero: [PageSize]; never more than [MaxPage]
}

// args are the arguments of the conditions that the query makes.
func (q RecordQuery) args() named {
	args := named{}
	if !q.Scope.All {
		args[":sites"] = encodeStrings(q.Scope.Sites)
	}
	if q.DevicesOnly {
		args[":devices_only"] = true
	}
	if q.Quiet {
		args[":quiet"] = tunnelRequested
	}
	for name, value := range map[string]string{
		":device_id": q.DeviceID, ":tunnel_id": q.TunnelID, ":actor": q.Actor, ":kind": q.Kind, ":result": q.Result,
		":text": strings.TrimSpace(q.Text),
	} {
		if value != "" {
			args[name] = value
		}
	}
	for name, at := range map[string]time.Time{":from": q.From, ":to": q.To} {
		if !at.IsZero() {
			args[name] = nanos(at)
		}
	}
	for name, seq := range map[string]int64{":before": q.Before, ":after": q.After} {
		if seq != 0 {
			args[name] = seq
		}
	}
	return args
}

// Records returns the lines that q asks for, newest first.
func (s *Store) Records(ctx context.Context, q RecordQuery) ([]Record, error) {
	args := q.args()
	args[":limit"] = page(q.Limit)
	var all []Record
	err := s.read(ctx, func(conn *sqlite.Conn) (err error) {
		all, err = search(conn, "record_list", args, recordRow)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	return all, nil
}

// CountRecords returns how many lines q asks for, whatever its Limit.
func (s *Store) CountRecords(ctx context.Context, q RecordQuery) (int, error) {
	var n []int
	err := s.read(ctx, func(conn *sqlite.Conn) (err error) {
		n, err = search(conn, "record_count", q.args(), countRow)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("count records: %w", err)
	}
	return n[0], nil
}

// Kinds returns the kinds of records that there are, sorted.
func (s *Store) Kinds(ctx context.Context) ([]string, error) {
	all, err := readAll(ctx, s, "record_kinds", nil, func(stmt *sqlite.Stmt) (string, error) {
		return stmt.GetText("kind"), nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the kinds of records: %w", err)
	}
	return all, nil
}

// TunnelRecords returns the lines of some tunnels by the tunnel's id, oldest first.
func (s *Store) TunnelRecords(ctx context.Context, tunnelIDs []string) (map[string][]Record, error) {
	all, err := readAll(ctx, s, "record_list_tunnels", named{":tunnel_ids": encodeStrings(tunnelIDs)}, recordRow)
	if err != nil {
		return nil, fmt.Errorf("list records of tunnels: %w", err)
	}
	found := make(map[string][]Record)
	for _, r := range all {
		found[r.TunnelID] = append(found[r.TunnelID], r)
	}
	return found, nil
}

// page is the number of rows to ask the database for.
func page(limit int) int {
	if limit <= 0 {
		return PageSize
	}
	return min(limit, MaxPage)
}
