package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"
)

// ended is the state of a tunnel that is over. Which other states there are is
// for the caller to know.
const ended = "ended"

// Step is one thing that happened on a tunnel's way, for its timeline.
type Step struct {
	Name   string    `json:"name"`
	At     time.Time `json:"at"`
	Detail string    `json:"detail,omitempty"`
}

// Tunnel is one WireGuard session between the engine and a device, past or
// present. A device has at most one that has not ended.
type Tunnel struct {
	ID            string
	DeviceID      string
	Operator      string // name of the operator who asked for it
	TokenID       string // jti of its token
	VirtualIP     netip.Addr
	State         string
	Reason        string // why it ended
	RequestedAt   time.Time
	UpAt          time.Time // zero: it was never up
	EndedAt       time.Time // zero: it has not ended
	ReceivedBytes int64     // by the engine; known when it has ended
	SentBytes     int64     // by the engine; known when it has ended
	Steps         []Step    // oldest first
}

// AddTunnel stores a new tunnel, its token as issued until tokenExpires, and the
// record a, in one transaction. ID, DeviceID, TokenID and State are required; a
// zero RequestedAt is now. What a leaves empty is filled in: the device, the
// tunnel, the time, the operator as its actor, and tunnel_requested as its kind.
//
// The error is [ErrConflict] when the device has an open tunnel already, or an
// open tunnel has that address, and [ErrNotFound] for an unknown device.
func (s *Store) AddTunnel(ctx context.Context, t Tunnel, tokenExpires time.Time, a Record) error {
	if t.ID == "" || t.DeviceID == "" || t.TokenID == "" || t.State == "" || t.State == ended {
		return errors.New("add tunnel: id, device, token and an open state are required")
	}
	t.RequestedAt = orNow(t.RequestedAt)
	ip, err := ipv4(t.VirtualIP)
	if err != nil {
		return fmt.Errorf("add tunnel %s: %w", t.ID, err)
	}
	steps, err := encodeSteps(t.Steps)
	if err != nil {
		return fmt.Errorf("add tunnel %s: %w", t.ID, err)
	}
	if steps == nil {
		steps = "[]"
	}
	err = s.write(ctx, func(conn *sqlite.Conn) error {
		return insertTunnel(conn, t, ip, steps, tokenExpires, a)
	})
	if err != nil {
		return fmt.Errorf("add tunnel %s: %w", t.ID, err)
	}
	return nil
}

func insertTunnel(conn *sqlite.Conn, t Tunnel, ip, steps any, tokenExpires time.Time, a Record) error {
	err := run(conn, "tunnel_add", named{
		":id":           t.ID,
		":device_id":    t.DeviceID,
		":operator":     t.Operator,
		":token_id":     t.TokenID,
		":virtual_ip":   ip,
		":state":        t.State,
		":requested_at": nanos(t.RequestedAt),
		":steps":        steps,
	})
	if err != nil {
		return err
	}
	err = run(conn, "tunnel_token_add", named{":id": t.TokenID, ":tunnel_id": t.ID, ":expires_at": nanos(tokenExpires)})
	if err != nil {
		return err
	}
	return recordTunnel(conn, t, a, Record{At: t.RequestedAt, Actor: t.Operator, Kind: tunnelRequested})
}

// recordTunnel records a for a tunnel; what it leaves empty comes from otherwise.
func recordTunnel(conn *sqlite.Conn, t Tunnel, a, otherwise Record) error {
	otherwise.DeviceID, otherwise.TunnelID = t.DeviceID, t.ID
	return record(conn, a.otherwise(otherwise))
}

// RedeemToken uses the token with that jti up. It returns nil to exactly one
// caller, and [ErrTokenUsed] to all others and for a token that is unknown, void
// or expired at now.
func (s *Store) RedeemToken(ctx context.Context, jti string, now time.Time) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		err := run(conn, "tunnel_token_use", named{":id": jti, ":now": nanos(now)})
		if err == nil && conn.Changes() != 1 {
			err = ErrTokenUsed
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("redeem tunnel token %s: %w", jti, err)
	}
	return nil
}

// SaveTunnel stores how far an open tunnel has come. A zero upAt and nil steps
// leave what is stored. The error is [ErrConflict] when the tunnel has ended, and
// [ErrNotFound] for an unknown id; only [Store.EndTunnel] ends a tunnel.
func (s *Store) SaveTunnel(ctx context.Context, id, state string, upAt time.Time, steps []Step) error {
	if state == "" || state == ended {
		return fmt.Errorf("save tunnel %s: %q is not the state of an open tunnel", id, state)
	}
	encoded, err := encodeSteps(steps)
	if err != nil {
		return fmt.Errorf("save tunnel %s: %w", id, err)
	}
	err = s.write(ctx, func(conn *sqlite.Conn) error {
		err := run(conn, "tunnel_save", named{":id": id, ":state": state, ":up_at": optional(upAt), ":steps": encoded})
		if err != nil || conn.Changes() > 0 {
			return err
		}
		if _, err := queryOne(conn, "tunnel_get", named{":id": id}, tunnelRow); err != nil {
			return err
		}
		return fmt.Errorf("%w: it has ended", ErrConflict)
	})
	if err != nil {
		return fmt.Errorf("save tunnel %s: %w", id, err)
	}
	return nil
}

// EndTunnel ends a tunnel, voids its token if nobody used it, and records a, in
// one transaction. It reports true to the one call that ended the tunnel; later
// calls change and record nothing. Nil steps leave what is stored. What a leaves
// empty is filled in: the device, the tunnel, the time, the reason, and
// tunnel_down as its kind. A zero at is now. The error is [ErrNotFound] for an
// unknown id.
func (s *Store) EndTunnel(ctx context.Context, id, reason string, at time.Time, rx, tx int64, steps []Step, a Record) (bool, error) {
	encoded, err := encodeSteps(steps)
	if err != nil {
		return false, fmt.Errorf("end tunnel %s: %w", id, err)
	}
	var first bool
	err = s.write(ctx, func(conn *sqlite.Conn) error {
		t, err := queryOne(conn, "tunnel_get", named{":id": id}, tunnelRow)
		if err != nil || t.State == ended {
			return err
		}
		t.Reason, t.EndedAt, t.ReceivedBytes, t.SentBytes = reason, orNow(at), rx, tx
		first = true
		return endTunnel(conn, t, encoded, a)
	})
	if err != nil {
		return false, fmt.Errorf("end tunnel %s: %w", id, err)
	}
	return first, nil
}

// EndOpenTunnels ends all tunnels that have not ended, each with a record, in one
// transaction, and returns them as they are now. Called when an engine starts:
// whatever was open then died with the engine before.
func (s *Store) EndOpenTunnels(ctx context.Context, reason string, at time.Time) ([]Tunnel, error) {
	var all []Tunnel
	err := s.write(ctx, func(conn *sqlite.Conn) (err error) {
		all, err = query(conn, "tunnel_list_open", nil, tunnelRow)
		if err != nil {
			return err
		}
		for i := range all {
			t := &all[i]
			t.State, t.Reason, t.EndedAt = ended, reason, orNow(at)
			t.Steps = append(t.Steps, Step{Name: ended, At: t.EndedAt, Detail: reason})
			steps, err := encodeSteps(t.Steps)
			if err != nil {
				return err
			}
			if err := endTunnel(conn, *t, steps, Record{}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("end open tunnels: %w", err)
	}
	return all, nil
}

// endTunnel writes the end of an open tunnel; nil steps leave what is stored.
func endTunnel(conn *sqlite.Conn, t Tunnel, steps any, a Record) error {
	err := runOne(conn, "tunnel_end", named{
		":id":             t.ID,
		":reason":         t.Reason,
		":ended_at":       nanos(t.EndedAt),
		":received_bytes": t.ReceivedBytes,
		":sent_bytes":     t.SentBytes,
		":steps":          steps,
	})
	if err != nil {
		return err
	}
	if err := run(conn, "tunnel_token_void", named{":tunnel_id": t.ID}); err != nil {
		return err
	}
	return recordTunnel(conn, t, a, Record{At: t.EndedAt, Kind: tunnelDown, Reason: t.Reason})
}

// Tunnel returns the tunnel with that id, or [ErrNotFound].
func (s *Store) Tunnel(ctx context.Context, id string) (Tunnel, error) {
	t, err := readOne(ctx, s, "tunnel_get", named{":id": id}, tunnelRow)
	if err != nil {
		return Tunnel{}, fmt.Errorf("tunnel %s: %w", id, err)
	}
	return t, nil
}

// Tunnels returns a device's tunnels, newest first; zero limit is [PageSize], and
// there are never more than [MaxPage].
func (s *Store) Tunnels(ctx context.Context, deviceID string, limit int) ([]Tunnel, error) {
	all, err := readAll(ctx, s, "tunnel_list", named{":device_id": deviceID, ":limit": page(limit)}, tunnelRow)
	if err != nil {
		return nil, fmt.Errorf("list tunnels of device %s: %w", deviceID, err)
	}
	return all, nil
}

// OpenTunnels returns the ids of the tunnels that have not ended, and when each was asked for. It
// costs as much as there are such tunnels, however many have ended.
func (s *Store) OpenTunnels(ctx context.Context) (map[string]time.Time, error) {
	all, err := readAll(ctx, s, "tunnel_list_open_id", nil, func(stmt *sqlite.Stmt) (Tunnel, error) {
		return Tunnel{ID: stmt.GetText("id"), RequestedAt: instant(stmt, "requested_at")}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list open tunnels: %w", err)
	}
	open := make(map[string]time.Time, len(all))
	for _, t := range all {
		open[t.ID] = t.RequestedAt
	}
	return open, nil
}

// encodeSteps is steps as they are stored, or nil for nil.
func encodeSteps(steps []Step) (any, error) {
	if steps == nil {
		return nil, nil
	}
	inUTC := slices.Clone(steps)
	for i := range inUTC {
		inUTC[i].At = utc(inUTC[i].At)
	}
	b, err := json.Marshal(inUTC)
	if err != nil {
		return nil, fmt.Errorf("encode steps: %w", err)
	}
	return string(b), nil
}

func tunnelRow(stmt *sqlite.Stmt) (Tunnel, error) {
	t := Tunnel{
		ID:            stmt.GetText("id"),
		DeviceID:      stmt.GetText("device_id"),
		Operator:      stmt.GetText("operator"),
		TokenID:       stmt.GetText("token_id"),
		VirtualIP:     address(stmt, "virtual_ip"),
		State:         stmt.GetText("state"),
		Reason:        stmt.GetText("reason"),
		RequestedAt:   instant(stmt, "requested_at"),
		UpAt:          instant(stmt, "up_at"),
		EndedAt:       instant(stmt, "ended_at"),
		ReceivedBytes: stmt.GetInt64("received_bytes"),
		SentBytes:     stmt.GetInt64("sent_bytes"),
	}
	if err := json.Unmarshal([]byte(stmt.GetText("steps")), &t.Steps); err != nil {
		return Tunnel{}, fmt.Errorf("decode steps of tunnel %s: %w", t.ID, err)
	}
	if len(t.Steps) == 0 {
		t.Steps = nil
	}
	return t, nil
}
