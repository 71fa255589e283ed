// Package audit makes the engine's records provable and takes them to where people and programs read them.
//
// The records themselves, and the chain of hashes through them, are the store's.
// This package signs the chain ([Signer]), checks it ([Verify]), writes it down for
// other programs ([Export]) and sends it to a log server while it grows ([Forwarder]).
//
// # What a checkpoint proves
//
// A chain alone shows when a record was changed, but whoever can write to the
// database can compute the rest of the chain anew, or cut its end off. A checkpoint is
// an Ed25519 signature under the hash of one record, and so under everything before
// it. It is kept in the database, in a file beside it, and on a log server when there
// is one: what was signed can only be changed unnoticed by whoever has the key and
// reaches all three. What was written after the last checkpoint is not covered yet.
package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"borealis/store"
)

// A Source hands records out, oldest first: a [store.Store], or an export that was
// opened with [ReadExport].
type Source interface {
	// EachRecord calls fn with every record after the one numbered after, until fn
	// returns an error, which it returns as it is.
	EachRecord(ctx context.Context, after int64, fn func(store.Record) error) error
}

// errEnough ends a walk along the records that has seen what it wanted.
var errEnough = errors.New("enough records")

// batch reads at most limit records after one.
func batch(ctx context.Context, source Source, after int64, limit int) ([]store.Record, error) {
	var all []store.Record
	err := source.EachRecord(ctx, after, func(r store.Record) error {
		all = append(all, r)
		if len(all) >= limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return all, err
}

// A digest is a hash as texts show it.
type digest [32]byte

// String is the hash in hexadecimal digits.
func (d digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText is for JSON.
func (d digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is for JSON.
func (d *digest) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("a hash has %d digits, not %d", hex.EncodedLen(len(d)), len(text))
	}
	_, err := hex.Decode(d[:], text)
	return err
}
