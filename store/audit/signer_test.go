package audit

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"borealis/store"

	"zombiezen.com/go/sqlite"
)

// running starts a signer and returns its checkpoints and what stops it.
func running(t *testing.T, s *Signer) (made <-chan store.Checkpoint, stop func()) {
	t.Helper()
	checkpoints := make(chan store.Checkpoint, 100)
	s.config.Notify = func(c store.Checkpoint) { checkpoints <- c }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the signer ended: %v", err)
		}
	})
	t.Cleanup(stop)
	return checkpoints, stop
}

// next is the next checkpoint that is made.
func next(t *testing.T, made <-chan store.Checkpoint) store.Checkpoint {
	t.Helper()
	select {
	case c := <-made:
		return c
	case <-bounded(t).Done():
		t.Fatal("no checkpoint was made")
		return store.Checkpoint{}
	}
}

// A signer signs what is there when it starts, every so many records, and what is left
// when it stops; each checkpoint is in the database and in the file.
func TestSignerFollowsTheTrail(t *testing.T) {
	t.Parallel()
	db, dir := newStore(t)
	a := newAuthority(t)
	add(t, db, 1, 3)
	s := a.signer(t, db, dir)
	s.records, s.interval = 10, time.Hour
	made, stop := running(t, s)
	if c := next(t, made); c.Seq != 3 {
		t.Errorf("at the start number %d is signed", c.Seq)
	}
	add(t, db, 4, 30)
	last := int64(3)
	for last < 21 { // at most 9 are left unsigned
		c := next(t, made)
		if c.Seq < last+10 {
			t.Errorf("after number %d, number %d is signed already", last, c.Seq)
		}
		last = c.Seq
	}
	add(t, db, 31, 31)
	stop()
	for last < 31 {
		last = next(t, made).Seq
	}
	kept, err := db.Checkpoints(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file, err := readCheckpointFile(filepath.Join(dir, "checkpoints.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if len(kept) != len(file) || len(kept) < 3 || kept[len(kept)-1].Seq != 31 {
		t.Errorf("%d checkpoints in the database, %d in the file", len(kept), len(file))
	}
	report, err := VerifyStore(t.Context(), db, []string{filepath.Join(dir, "checkpoints.jsonl")}, Options{Vouched: a.vouched})
	if err != nil || !report.OK() || report.Checkpoints != len(kept) || report.Uncovered != 0 {
		t.Errorf("%s, %v", report, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "checkpoints.jsonl")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// A few records are signed when the time is up.
func TestSignerSignsInTime(t *testing.T) {
	t.Parallel()
	db, dir := newStore(t)
	s := newAuthority(t).signer(t, db, dir)
	s.interval = 20 * time.Millisecond
	made, _ := running(t, s)
	add(t, db, 1, 1)
	if c := next(t, made); c.Seq != 1 {
		t.Errorf("number %d is signed", c.Seq)
	}
	add(t, db, 2, 2)
	if c := next(t, made); c.Seq != 2 {
		t.Errorf("number %d is signed", c.Seq)
	}
}

// Nothing new is not signed again, at no start.
func TestSignerIsQuiet(t *testing.T) {
	t.Parallel()
	db, dir := newStore(t)
	a := newAuthority(t)
	signNow(t, a.signer(t, db, dir))
	if _, err := os.Stat(filepath.Join(dir, "checkpoints.jsonl")); !os.IsNotExist(err) {
		t.Errorf("an empty trail is signed: %v", err)
	}
	add(t, db, 1, 5)
	for range 3 {
		_, stop := running(t, a.signer(t, db, dir))
		stop()
	}
	if kept, err := db.Checkpoints(t.Context()); err != nil || len(kept) != 1 {
		t.Errorf("%d checkpoints, %v", len(kept), err)
	}
}

// What a power cut leaves of a line does not spoil the next one.
func TestTornCheckpointFile(t *testing.T) {
	t.Parallel()
	db, dir := newStore(t)
	a := newAuthority(t)
	add(t, db, 1, 5)
	signNow(t, a.signer(t, db, dir))
	path := filepath.Join(dir, "checkpoints.jsonl")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString(`{"seq":6,"hash":"00`)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if all, err := readCheckpointFile(path); err != nil || len(all) != 1 {
		t.Errorf("%d checkpoints, %v", len(all), err)
	}
	add(t, db, 6, 6)
	signNow(t, a.signer(t, db, dir))
	if all, err := readCheckpointFile(path); err != nil || len(all) != 2 || all[1].Seq != 6 {
		t.Errorf("%+v, %v", all, err)
	}
}

// A trail that was tampered with while the engine stood still, or since the last
// checkpoint, is logged and put on record; it is signed from there on.
func TestSignerNoticesTampering(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tamper string
		what   string
	}{
		"cut":                         {"DELETE FROM audit_checkpoint; DELETE FROM audit WHERE seq > 5", Truncated},
		"changed after the signature": {"UPDATE audit SET detail = 'x' WHERE seq = 12", Changed},
		"cut after the signature":     {"DELETE FROM audit WHERE seq = 12", Missing},
		"signed record changed":       {"UPDATE audit SET hash = zeroblob(32) WHERE seq = 10", Rewritten},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			s := scene{t.TempDir(), newAuthority(t)}
			db := openStore(t, s.path("borealis.db"))
			add(t, db, 1, 10)
			signNow(t, s.signer(t, db, s.dir))
			add(t, db, 11, 13)
			db.Close()
			s.tamper(t, func(conn *sqlite.Conn) { do(t, conn, strings.Split(test.tamper, "; ")...) })

			db = openStore(t, s.path("borealis.db"))
			var log bytes.Buffer
			signer := s.signer(t, db, s.dir, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
			made, stop := running(t, signer)
			c := next(t, made)
			stop()
			if !strings.Contains(log.String(), "msg=audit_trail_broken reason="+test.what) {
				t.Errorf("the log says %s", log.String())
			}
			found, err := db.Records(t.Context(), store.RecordQuery{Scope: store.Scope{All: true}, Kind: "audit_broken"})
			if err != nil || len(found) != 1 || found[0].Reason != test.what || found[0].Result != store.Failed || c.Seq != found[0].Seq {
				t.Errorf("on record: %+v, %v; number %d is signed", found, err, c.Seq)
			}
			if report := s.verify(t, "checkpoints.jsonl"); report.OK() {
				t.Errorf("afterwards: %s", report)
			}
		})
	}
}

// A file that cannot be written makes no checkpoint that only the database has.
func TestSignerNeedsItsFile(t *testing.T) {
	t.Parallel()
	db, dir := newStore(t)
	add(t, db, 1, 1)
	s := newAuthority(t).signer(t, db, dir, func(c *Config) { c.File = filepath.Join(dir, "nowhere", "checkpoints.jsonl") })
	s.begin(t.Context())
	if s.sign(t.Context()) {
		t.Error("it was signed")
	}
	if kept, err := db.Checkpoints(t.Context()); err != nil || len(kept) != 0 {
		t.Errorf("%d checkpoints, %v", len(kept), err)
	}
}

func TestNewSignerNeedsAKey(t *testing.T) {
	t.Parallel()
	db, _ := newStore(t)
	if _, err := NewSigner(Config{Store: db}); err == nil {
		t.Error("a signer without a key")
	}
	if _, err := NewSigner(Config{Key: newAuthority(t).key}); err == nil {
		t.Error("a signer without a store")
	}
}
