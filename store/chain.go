package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
)

// chainFormat begins every digest, so that none can be taken for something else.
const chainFormat = "borealis-audit-v1"

// Digest is what makes the chain: SHA-256 over the following bytes, where a
// number is 8 bytes, big-endian.
//
//	"borealis-audit-v1"
//	Seq
//	11 fields, each as the number of its bytes and then its bytes:
//	  At         a number: nanoseconds since 1970-01-01 UTC, two's complement
//	  Actor, Session, Source, Kind, DeviceID, TunnelID, Target, Result, Reason,
//	  Detail     UTF-8
//	prev         32 bytes: the hash of the line before, zeros for the first line
//
// It is [Record.Hash] for a line that is as it was when it was stored.
func (r Record) Digest(prev [32]byte) [32]byte {
	b := make([]byte, 0, 512)
	number := func(n uint64) { b = binary.BigEndian.AppendUint64(b, n) }
	b = append(b, chainFormat...)
	number(uint64(r.Seq)) // #nosec G115 -- the same 64 bits
	number(8)
	number(uint64(nanos(r.At))) // #nosec G115 -- the same 64 bits
	for _, field := range []string{
		r.Actor, r.Session, r.Source, r.Kind, r.DeviceID, r.TunnelID, r.Target, r.Result, r.Reason, r.Detail,
	} {
		number(uint64(len(field)))
		b = append(b, field...)
	}
	return sha256.Sum256(append(b, prev[:]...))
}

// Head returns the last line's number and hash; zeros when there is no line.
func (s *Store) Head(ctx context.Context) (seq int64, hash [32]byte, err error) {
	err = s.read(ctx, func(conn *sqlite.Conn) error {
		seq, hash, err = head(conn)
		return err
	})
	if err != nil {
		return 0, [32]byte{}, fmt.Errorf("end of the audit chain: %w", err)
	}
	return seq, hash, nil
}

func head(conn *sqlite.Conn) (seq int64, hash [32]byte, err error) {
	_, err = query(conn, "record_head", nil, func(stmt *sqlite.Stmt) (struct{}, error) {
		seq = stmt.GetInt64("seq")
		stmt.GetBytes("hash", hash[:])
		return struct{}{}, nil
	})
	return seq, hash, err
}

// walkStep is how many lines EachRecord reads at a time.
const walkStep = 1000

// EachRecord calls fn with every line after the one numbered after, oldest first,
// until fn returns an error, which it returns as it is. No lock is held while fn
// works, and lines that are added meanwhile are among them. The memory that it
// needs does not depend on how many there are. Lines have no Hostname.
func (s *Store) EachRecord(ctx context.Context, after int64, fn func(Record) error) error {
	for {
		lines, err := readAll(ctx, s, "record_walk", named{":after": after, ":limit": walkStep}, recordRow)
		if err != nil {
			return fmt.Errorf("walk along the audit chain: %w", err)
		}
		for _, r := range lines {
			if err := fn(r); err != nil {
				return err
			}
		}
		if len(lines) < walkStep {
			return nil
		}
		after = lines[len(lines)-1].Seq
	}
}

// Checkpoint is a signature under the chain as it was at one time.
type Checkpoint struct {
	Seq       int64    // of the last line that it covers
	Hash      [32]byte // of that line
	At        time.Time
	Key       []byte // public key that Signature is of
	Vouch     []byte // the engine identity's signature of Key
	Signature []byte
}

// AddCheckpoint stores c; a zero At is now. Checkpoints are never changed nor
// removed. The error is [ErrConflict] when there is one of the same line, and
// [ErrNotFound] when no such line with that hash exists.
func (s *Store) AddCheckpoint(ctx context.Context, c Checkpoint) error {
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		err := runOne(conn, "checkpoint_add", named{
			":seq": c.Seq, ":hash": c.Hash[:], ":at": nanos(orNow(c.At)), ":key": c.Key, ":vouch": c.Vouch, ":signature": c.Signature,
		})
		if sqlite.ErrCode(err) == sqlite.ResultConstraintTrigger {
			err = fmt.Errorf("%w (%w)", ErrConflict, err)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("add checkpoint of line %d: %w", c.Seq, err)
	}
	return nil
}

// Checkpoints returns all checkpoints, oldest first.
func (s *Store) Checkpoints(ctx context.Context) ([]Checkpoint, error) {
	all, err := readAll(ctx, s, "checkpoint_list", nil, checkpointRow)
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	return all, nil
}

// LastCheckpoint returns the checkpoint that covers most, or [ErrNotFound] when there
// is none.
func (s *Store) LastCheckpoint(ctx context.Context) (Checkpoint, error) {
	c, err := readOne(ctx, s, "checkpoint_last", nil, checkpointRow)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("last checkpoint: %w", err)
	}
	return c, nil
}

func checkpointRow(stmt *sqlite.Stmt) (Checkpoint, error) {
	c := Checkpoint{
		Seq: stmt.GetInt64("seq"), At: instant(stmt, "at"),
		Key: blob(stmt, "key"), Vouch: blob(stmt, "vouch"), Signature: blob(stmt, "signature"),
	}
	stmt.GetBytes("hash", c.Hash[:])
	return c, nil
}
