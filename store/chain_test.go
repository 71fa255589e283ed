package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"
)

// checkChain walks along the whole chain as somebody who verifies it would, and
// returns how many lines it has.
func checkChain(t testing.TB, s *Store) int64 {
	t.Helper()
	n, err := verify(t.Context(), s)
	if err != nil {
		t.Error(err)
	}
	seq, _, err := s.Head(t.Context())
	if err != nil || seq != n {
		t.Errorf("the chain has %d lines and ends with %d, %v", n, seq, err)
	}
	return n
}

func verify(ctx context.Context, s *Store) (n int64, err error) {
	var last [32]byte
	err = s.EachRecord(ctx, 0, func(r Record) error {
		n++
		if r.Seq != n || r.Digest(last) != r.Hash {
			return fmt.Errorf("line %d does not follow line %d: %+v", r.Seq, n-1, r)
		}
		last = r.Hash
		return nil
	})
	return n, err
}

// TestDigest hashes a line with nothing but what the documentation says.
func TestDigest(t *testing.T) {
	t.Parallel()
	r := Record{
		Seq: 258, At: time.Unix(1, 2), Actor: "ada", Session: "s", Source: "192.0.2.1", Kind: "tunnel_up", DeviceID: "d",
		TunnelID: "t", Target: "\u00e9", Result: Done, Reason: "", Detail: "x",
		Hash: hash("not part of it"), Hostname: "neither",
	}
	prev := hash("before")
	var want []byte
	want = append(want, "borealis-audit-v1"...)
	want = append(want, 0, 0, 0, 0, 0, 0, 1, 2)
	want = append(want, 0, 0, 0, 0, 0, 0, 0, 8)
	want = binary.BigEndian.AppendUint64(want, 1_000_000_002)
	for _, field := range []string{"ada", "s", "192.0.2.1", "tunnel_up", "d", "t", "\xc3\xa9", "done", "", "x"} {
		want = append(want, 0, 0, 0, 0, 0, 0, 0, byte(len(field)))
		want = append(want, field...)
	}
	want = append(want, prev[:]...)
	if r.Digest(prev) != sha256.Sum256(want) {
		t.Error("the digest is not what is documented")
	}
	// Outsiders have this vector.
	const vector = "f2bfeb0ad4b9fc07c0c0eee25256e4d63287441ea6ccb7f2ac8eee01223d936c"
	if got := fmt.Sprintf("%x", (Record{Seq: 1, At: noon, Kind: "engine_started", Result: Done}).Digest([32]byte{})); got != vector {
		t.Errorf("digest %s, want %s", got, vector)
	}
	for name, change := range map[string]func(*Record){
		"seq":     func(r *Record) { r.Seq++ },
		"at":      func(r *Record) { r.At = r.At.Add(1) },
		"border":  func(r *Record) { r.Actor, r.Session = "adas", "" },
		"swapped": func(r *Record) { r.DeviceID, r.TunnelID = r.TunnelID, r.DeviceID },
		"detail":  func(r *Record) { r.Detail = "" },
	} {
		other := r
		change(&other)
		if other.Digest(prev) == r.Digest(prev) {
			t.Errorf("%s makes no difference", name)
		}
	}
	if r.Digest(prev) == r.Digest([32]byte{}) {
		t.Error("the line before makes no difference")
	}
}

// TestChainOfManyWriters appends from two handles on one file at once, among changes
// of other things that are not to be.
func TestChainOfManyWriters(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "borealis.db")
	stores := []*Store{openAt(t, path), openAt(t, path)}
	refused := errors.New("refused")
	errs := atOnce(120, func(i int) error {
		s := stores[i%2]
		if i%3 == 0 {
			return s.write(t.Context(), func(conn *sqlite.Conn) error {
				return errors.Join(record(conn, Record{Kind: "never"}), refused)
			})
		}
		return s.AddRecord(t.Context(), Record{Kind: "k", Detail: fmt.Sprint(i)})
	})
	for i, err := range errs {
		if want := i%3 == 0; errors.Is(err, refused) != want || !want && err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	for _, s := range stores {
		if n := checkChain(t, s); n != 80 {
			t.Errorf("%d lines, want 80", n)
		}
	}
}

// TestChainShows makes sure that whoever can write to the file cannot change a line,
// take one away, put one in or swap two without a verifier seeing it.
func TestChainShows(t *testing.T) {
	t.Parallel()
	for name, statements := range map[string][]string{
		"nothing":  nil,
		"changed":  {"UPDATE audit SET actor = 'bob' WHERE seq = 3"},
		"time":     {"UPDATE audit SET at = at + 1 WHERE seq = 3"},
		"removed":  {"DELETE FROM audit WHERE seq = 3"},
		"first":    {"DELETE FROM audit WHERE seq = 1"},
		"closed":   {"DELETE FROM audit WHERE seq = 3", "UPDATE audit SET seq = seq - 1 WHERE seq > 3"},
		"swapped":  {"UPDATE audit SET seq = 99 WHERE seq = 2", "UPDATE audit SET seq = 2 WHERE seq = 3", "UPDATE audit SET seq = 3 WHERE seq = 99"},
		"device":   {"UPDATE audit SET device_id = 'd' WHERE seq = 3"},
		"unhashed": {"UPDATE audit SET hash = zeroblob(32) WHERE seq = 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openTest(t)
			for i := range 5 {
				addRecords(t, s, Record{Kind: "k", Actor: fmt.Sprint(i)})
			}
			conn := openRaw(t, s.path(t))
			do(t, conn, "DROP TRIGGER audit_keep", "DROP TRIGGER audit_fixed")
			do(t, conn, statements...)
			if _, err := verify(t.Context(), s); (err == nil) != (statements == nil) {
				t.Errorf("verified: %v", err)
			}
		})
	}
}

func TestEachRecord(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	const lines = 2*walkStep + 10
	err := s.write(ctx, func(conn *sqlite.Conn) error {
		for range lines {
			if err := record(conn, Record{Kind: "k"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for after, want := range map[int64]int{0: lines, 1: lines - 1, walkStep: lines - walkStep, lines: 0, lines + 5: 0} {
		next, n := after+1, 0
		err := s.EachRecord(ctx, after, func(r Record) error {
			if r.Seq != next {
				return fmt.Errorf("line %d, want %d", r.Seq, next)
			}
			next++
			n++
			return nil
		})
		if n != want || err != nil {
			t.Errorf("after %d: %d lines, %v, want %d", after, n, err, want)
		}
	}
	// A writer is not in the way, and what it writes is seen.
	n := 0
	err = s.EachRecord(ctx, 0, func(r Record) error {
		n++
		if r.Seq == 5 {
			return s.AddRecord(ctx, Record{Kind: "meanwhile"})
		}
		return nil
	})
	if n != lines+1 || err != nil {
		t.Errorf("%d lines, %v, want one more than %d", n, err, lines)
	}
	enough := errors.New("enough")
	n = 0
	if err := s.EachRecord(ctx, 0, func(Record) error { n++; return enough }); err != enough || n != 1 {
		t.Errorf("%d lines, error %v", n, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	err = s.EachRecord(ctx, 0, func(Record) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the context ended: error %v", err)
	}
}

func TestHeadOfNothing(t *testing.T) {
	t.Parallel()
	if seq, hash, err := openTest(t).Head(t.Context()); seq != 0 || hash != [32]byte{} || err != nil {
		t.Errorf("%d %x %v", seq, hash, err)
	}
}

func TestCheckpoints(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	if all, err := s.Checkpoints(ctx); len(all) != 0 || err != nil {
		t.Fatalf("at first: %v, %v", all, err)
	}
	if _, err := s.LastCheckpoint(ctx); !errors.Is(err, ErrNotFound) {
		t.Errorf("the last of none: error %v, want ErrNotFound", err)
	}
	var want []Checkpoint
	for i := range 3 {
		addRecords(t, s, Record{Kind: "k"})
		seq, hash, err := s.Head(ctx)
		if err != nil {
			t.Fatal(err)
		}
		c := Checkpoint{Seq: seq, Hash: hash, At: noon, Key: []byte("key"), Vouch: []byte("vouch"), Signature: []byte{0, byte(i)}}
		want = append(want, c)
	}
	for _, i := range []int{1, 0, 2} { // the list is in the chain's order
		if err := s.AddCheckpoint(ctx, want[i]); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Checkpoints(ctx)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	last, err := s.LastCheckpoint(ctx)
	if diff := cmp.Diff(want[2], last); diff != "" || err != nil {
		t.Errorf("the last: %v (-want +got):\n%s", err, diff)
	}
	if err := s.AddCheckpoint(ctx, want[1]); !errors.Is(err, ErrConflict) {
		t.Errorf("the same again: error %v, want ErrConflict", err)
	}
	wrong := slices.Clone(want)
	wrong[0].Seq, wrong[1].Hash = 4, want[0].Hash
	for _, c := range wrong[:2] {
		if err := s.AddCheckpoint(ctx, c); !errors.Is(err, ErrNotFound) {
			t.Errorf("a checkpoint of no line: error %v, want ErrNotFound", err)
		}
	}
}
