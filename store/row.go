package store

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/google/uuid"
	"zombiezen.com/go/sqlite"
)

// fill gives a new row its id and its time when the caller left them empty.
func fill(id string, at time.Time) (string, time.Time) {
	if id == "" {
		id = newID()
	}
	return id, orNow(at)
}

// orNow is at, or now when it is zero, as it will be read back.
func orNow(at time.Time) time.Time {
	if at.IsZero() {
		at = time.Now()
	}
	return utc(at)
}

// newID makes a UUIDv7. It panics only when the system has no randomness.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// utc is t as it will be read back. A time that does not fit into nanoseconds,
// before 1678 or after 2261, becomes the nearest one that does.
func utc(t time.Time) time.Time {
	const farthest = math.MaxInt64 / int64(time.Second) // seconds from 1970
	switch {
	case t.IsZero():
		return time.Time{}
	case t.Unix() >= farthest:
		return time.Unix(farthest, 0).UTC()
	case t.Unix() <= -farthest:
		return time.Unix(-farthest, 0).UTC()
	default:
		return time.Unix(0, t.UnixNano()).UTC()
	}
}

// nanos is t as it is stored in a column that is never NULL.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return utc(t).UnixNano()
}

// optional is t as it is stored in a column that is NULL for the zero time.
func optional(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return nanos(t)
}

// text is s as it is stored in a column that is NULL for the empty string.
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// instant reads a column written by [nanos] or [optional].
func instant(stmt *sqlite.Stmt, column string) time.Time {
	n := stmt.GetInt64(column)
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// blob reads a column of bytes; nil when it is empty.
func blob(stmt *sqlite.Stmt, column string) []byte {
	n := stmt.GetLen(column)
	if n == 0 {
		return nil
	}
	b := make([]byte, n)
	stmt.GetBytes(column, b)
	return b
}

// encodeStrings is all as a JSON array; nil is an empty one.
func encodeStrings(all []string) string {
	if len(all) == 0 {
		return "[]"
	}
	b, _ := json.Marshal(all) // strings always can be encoded
	return string(b)
}

// ipv4 is a as it is stored: an integer, or NULL for the zero address.
func ipv4(a netip.Addr) (any, error) {
	if !a.IsValid() {
		return nil, nil
	}
	if !a.Is4() {
		return nil, fmt.Errorf("address %s is not IPv4", a)
	}
	return int64(number(a)), nil
}

// address reads a column written by [ipv4].
func address(stmt *sqlite.Stmt, column string) netip.Addr {
	if stmt.IsNull(column) {
		return netip.Addr{}
	}
	return fromNumber(uint32(stmt.GetInt64(column))) // #nosec G115 -- the schema allows 32 bits only
}

// number is an IPv4 address as an integer.
func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// fromNumber is the IPv4 address with that integer.
func fromNumber(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}
