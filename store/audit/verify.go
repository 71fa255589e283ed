package audit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"time"

	"borealis/store"
)

// What can be wrong with a trail of records. Programs rely on these words.
const (
	Changed    = "changed"    // a record is not what its hash was made of
	Missing    = "missing"    // records between two others are gone
	Order      = "order"      // a record stands where it does not belong
	Truncated  = "truncated"  // records at the end are gone
	Rewritten  = "rewritten"  // the chain is whole, but not the one that was signed
	Signature  = "signature"  // a checkpoint was changed, or was not signed with its key
	Key        = "key"        // a checkpoint's key is not the engine's
	Unreadable = "unreadable" // a line of a file is not what Borealis writes
	Foreign    = "foreign"    // the records are another engine's
)

// RestoredKind is the kind of the record that says that the engine was restored from a backup.
const RestoredKind = "restored"

// A Fault is the first thing that is wrong with a trail.
type Fault struct {
	Seq     int64  `json:"seq"`     // number of the record, or of the last one that a checkpoint covers
	What    string `json:"what"`    // [Changed] and so on
	Meaning string `json:"meaning"` // what that means, for people
}

// Error is what is wrong, in a sentence.
func (f *Fault) Error() string { return f.Meaning }

func fault(seq int64, what, format string, args ...any) *Fault {
	return &Fault{Seq: seq, What: what, Meaning: fmt.Sprintf(format, args...)}
}

// A Report is what came of checking a trail.
type Report struct {
	Records     int64     `json:"records"`             // that were checked and found to be as they were written
	Last        int64     `json:"last"`                // number of the last of them
	Checkpoints int       `json:"checkpoints"`         // that were checked and are met
	Covered     int64     `json:"covered"`             // number of the last record that a checkpoint covers; zero: none
	CoveredAt   time.Time `json:"covered_at,omitzero"` // when that checkpoint was signed
	Uncovered   int64     `json:"uncovered"`           // records after it, which nothing but the chain protects yet
	Vouched     bool      `json:"vouched"`             // the checkpoints' keys were compared with the engine's identity
	Note        string    `json:"note"`                // what could not be checked; empty: nothing
	Fault       *Fault    `json:"fault"`               // null: nothing is wrong
}

// OK reports whether nothing is wrong.
func (r Report) OK() bool { return r.Fault == nil }

// String is the report in words.
func (r Report) String() string {
	if r.Fault != nil && r.Records == 0 {
		return r.Fault.Meaning
	}
	if r.Fault != nil {
		return fmt.Sprintf("%s Before that %s as written.", r.Fault.Meaning, are(r.Records, "record"))
	}
	text := fmt.Sprintf("All %s are as they were written.", count(r.Records, "record"))
	switch r.Records {
	case 0:
		text = "There are no records."
	case 1:
		text = "The only record is as it was written."
	}
	switch {
	case r.Covered == 0 && r.Records > 0:
		text += " No checkpoint covers them yet."
	case r.Covered > 0:
		text += fmt.Sprintf(" %s met; the last one, of %s, covers everything up to record %d.",
			are(int64(r.Checkpoints), "signed checkpoint"), r.CoveredAt.UTC().Format("2006-01-02 15:04:05 UTC"), r.Covered)
	}
	if r.Covered > 0 && r.Uncovered > 0 {
		text += fmt.Sprintf(" %s not signed yet.", are(r.Uncovered, "later record"))
	}
	if r.Checkpoints > 0 && !r.Vouched {
		text += " Whether the key that signed is this engine's was not checked."
	}
	if r.Note != "" {
		text += " " + r.Note
	}
	return text
}

// count is a number with its noun; are is the same with a verb.
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func are(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun + " is"
	}
	return count(n, noun) + " are"
}

// Options are what a trail is checked against.
type Options struct {
	// Checkpoints are those of the database, of checkpoint files, and of whoever else
	// kept some; in any order, and the same ones may be there more than once.
	Checkpoints []store.Checkpoint
	// Vouched returns nil when the engine's identity vouches for a key. It is called
	// once for each key and vouch. Nil takes every key, and the report says so.
	Vouched func(key ed25519.PublicKey, vouch []byte) error
	// Engine is the pin of the engine whose export it should be; empty: any.
	Engine string
}

// Verify walks along a trail, computes every hash anew, and checks every checkpoint.
// The report names the first fault. An error means that the trail could not be read to
// its end; it is not a fault of the trail. A record takes about 2 µs from a database
// and 6 µs from an export.
func Verify(ctx context.Context, source Source, o Options) (Report, error) {
	v := verifier{vouched: o.Vouched, keys: make(map[string]error)}
	v.report.Vouched = o.Vouched != nil
	v.checkpoints = slices.Clone(o.Checkpoints)
	slices.SortStableFunc(v.checkpoints, compareCheckpoints)
	v.checkpoints = slices.CompactFunc(v.checkpoints, func(a, b store.Checkpoint) bool { return compareCheckpoints(a, b) == 0 })

	err := v.walk(ctx, source, o.Engine)
	v.report.Last, v.report.Uncovered = v.chain.seq, v.chain.seq-v.report.Covered
	if f, ok := errors.AsType[*Fault](err); ok {
		v.report.Fault = v.explain(f)
		return v.report, nil
	}
	if err != nil {
		return v.report, fmt.Errorf("verify records: %w", err)
	}
	return v.report, nil
}

// VerifyStore is [Verify] for a database, with its own checkpoints and those of the
// files besides o's. A file that is not there is noted in the report.
func VerifyStore(ctx context.Context, db *store.Store, files []string, o Options) (Report, error) {
	kept, err := db.Checkpoints(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("verify records: %w", err)
	}
	o.Checkpoints = slices.Concat(o.Checkpoints, kept)
	var note string
	var unreadable *Fault
	for _, path := range files {
		found, err := readCheckpointFile(path)
		o.Checkpoints = append(o.Checkpoints, found...)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			note = fmt.Sprintf("The checkpoint file %s does not exist: a database that was cut together with its checkpoints cannot be told from a whole one.", path)
		case err != nil:
			var last int64
			if len(found) > 0 {
				last = found[len(found)-1].Seq
			}
			unreadable = fault(last, Unreadable, "The checkpoint file %s cannot be read to its end: %v. Somebody changed it, or the disk did.", path, err)
		}
	}
	report, err := Verify(ctx, db, o)
	report.Note = note
	if report.Fault == nil {
		report.Fault = unreadable
	}
	return report, err
}

// compareCheckpoints puts checkpoints in the order in which the records meet them.
func compareCheckpoints(a, b store.Checkpoint) int {
	return cmp.Or(
		cmp.Compare(a.Seq, b.Seq), a.At.Compare(b.At), bytes.Compare(a.Hash[:], b.Hash[:]),
		bytes.Compare(a.Key, b.Key), bytes.Compare(a.Vouch, b.Vouch), bytes.Compare(a.Signature, b.Signature),
	)
}

// A verifier is a walk along a trail.
type verifier struct {
	report      Report
	chain       chain
	checkpoints []store.Checkpoint // not met yet, in order
	vouched     func(ed25519.PublicKey, []byte) error
	keys        map[string]error // what vouched answered, by key and vouch
	restored    store.Record     // the last one that says so; zero: none
}

// explain adds to a fault that a restore from a backup causes too. It stays a fault: whoever
// can cut a trail can write that it was restored.
func (v *verifier) explain(f *Fault) *Fault {
	if v.restored.Seq > 0 && f.Seq >= v.restored.Seq && (f.What == Truncated || f.What == Rewritten) {
		f.Meaning += fmt.Sprintf(" But record %d, of %s, says that the engine was restored from a backup: checkpoints that were signed between that backup and the restore are of records that the restored engine does not have.",
			v.restored.Seq, v.restored.At.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	return f
}

// walk checks everything and returns the first [*Fault], or why it could not.
func (v *verifier) walk(ctx context.Context, source Source, engine string) error {
	if e, ok := source.(*ExportReader); ok {
		if err := e.check(engine); err != nil {
			return err
		}
	}
	if err := v.meet(nil); err != nil { // those of records that cannot exist
		return err
	}
	err := source.EachRecord(ctx, math.MinInt64, func(r store.Record) error {
		if err := v.chain.next(r); err != nil {
			return err
		}
		if r.Kind == RestoredKind {
			v.restored = r
		}
		if err := v.meet(&r); err != nil {
			return err
		}
		v.report.Records++
		if v.report.Records%1024 == 0 {
			return ctx.Err()
		}
		return nil
	})
	if err != nil || len(v.checkpoints) == 0 {
		return err
	}
	c := v.checkpoints[0]
	if err := v.trust(c); err != nil {
		return err
	}
	return fault(c.Seq, Truncated, "The trail ends with record %d, but the checkpoint of %s covers record %d: the records after %d were removed, or the database was replaced by an older one.",
		v.chain.seq, at(c), c.Seq, v.chain.seq)
}

// meet checks the checkpoints of a record; nil is the one before the first.
func (v *verifier) meet(r *store.Record) error {
	var seq int64
	if r != nil {
		seq = r.Seq
	}
	for len(v.checkpoints) > 0 && v.checkpoints[0].Seq <= seq {
		c := v.checkpoints[0]
		if err := v.trust(c); err != nil {
			return err
		}
		if r == nil || c.Seq != seq || c.Hash != r.Hash {
			return fault(c.Seq, Rewritten, "Record %d is not the one that the checkpoint of %s was made of: records after number %d, up to this one, were written anew.",
				c.Seq, at(c), v.report.Covered)
		}
		v.checkpoints = v.checkpoints[1:]
		v.report.Checkpoints++
		v.report.Covered, v.report.CoveredAt = c.Seq, c.At
	}
	return nil
}

// trust checks that a checkpoint was signed, and by the engine.
func (v *verifier) trust(c store.Checkpoint) error {
	if !signed(c) {
		return fault(c.Seq, Signature, "The checkpoint of record %d, of %s, does not have a valid signature: it was changed, or made up.", c.Seq, at(c))
	}
	if v.vouched == nil {
		return nil
	}
	id := string(c.Key) + string(c.Vouch)
	err, known := v.keys[id]
	if !known {
		err = v.vouched(c.Key, c.Vouch)
		v.keys[id] = err
	}
	if err != nil {
		return fault(c.Seq, Key, "The checkpoint of record %d, of %s, was signed with a key that is not this engine's: %v.", c.Seq, at(c), err)
	}
	return nil
}

// at is when a checkpoint was signed.
func at(c store.Checkpoint) string { return c.At.UTC().Format("2006-01-02 15:04:05 UTC") }

// A chain is a place in the chain of hashes: the last record that was seen.
type chain struct {
	seq  int64
	hash [32]byte
}

// next checks that a record is the one that follows.
func (c *chain) next(r store.Record) error {
	switch {
	case r.Seq > c.seq+2:
		return fault(c.seq+1, Missing, "Records %d to %d were removed.", c.seq+1, r.Seq-1)
	case r.Seq == c.seq+2:
		return fault(c.seq+1, Missing, "Record %d was removed.", c.seq+1)
	case r.Seq <= c.seq:
		return fault(r.Seq, Order, "A record with the number %d stands after number %d: it was inserted or moved.", r.Seq, c.seq)
	case r.Digest(c.hash) != r.Hash:
		return fault(r.Seq, Changed, "Record %d does not match its hash: it was changed, inserted or moved, or the hash was.", r.Seq)
	}
	c.seq, c.hash = r.Seq, r.Hash
	return nil
}
