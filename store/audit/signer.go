package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"borealis/store"
)

// When a [Signer] makes a checkpoint: whichever comes first.
const (
	CheckpointRecords  = 100         // new records
	CheckpointInterval = time.Minute // after the first new record
)

const (
	changePoll    = 250 * time.Millisecond // how often the database is asked whether it changed
	closeTimeout  = 2 * time.Second        // for the last checkpoint
	signerRetry   = 10 * time.Second       // after a checkpoint that could not be made
	brokenKind    = "audit_broken"         // of the record that says that the trail was tampered with
	tamperedEvent = "audit_trail_broken"   // of the log
)

// Config is what a [Signer] needs.
type Config struct {
	Store *store.Store
	Key   ed25519.PrivateKey // of the engine, for checkpoints and nothing else
	// Vouch proves that Key is the engine's: its identity's signature over the public
	// key, in a form that whoever verifies knows. It goes into each checkpoint.
	Vouch []byte
	// File gets every checkpoint as a line of JSON, so that a database that was cut
	// together with its checkpoints is found. Empty: no file.
	File string
	// Logger gets what goes wrong. Nil is silent.
	Logger *slog.Logger
	// Notify is called with each new checkpoint; it must not wait. Nil: nobody.
	Notify func(store.Checkpoint)
}

// A Signer signs the trail as it grows.
type Signer struct {
	config   Config
	records  int64 // CheckpointRecords, but in tests
	interval time.Duration

	// For Run's goroutine only.
	base   chain // what the last checkpoint covers
	broken bool  // there is no base: a fault was found, and is on record
}

// NewSigner returns a signer that works while [Signer.Run] does.
func NewSigner(c Config) (*Signer, error) {
	if c.Store == nil || len(c.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("a signer of the audit trail needs a store and a key")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Signer{config: c, records: CheckpointRecords, interval: CheckpointInterval}, nil
}

// Run signs what is not signed yet, then the trail as it grows, and a last time when
// ctx ends; then it returns nil. What goes wrong is logged and tried again, so that
// other errors mean that the database cannot be watched at all.
//
// At the start it compares the database with the newest checkpoint that it or the file
// has. A trail that was cut, replaced or written anew is logged and put on record; it
// is signed all the same from there on, for [Verify] finds the fault for ever.
func (s *Signer) Run(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	watching, stop := context.WithCancel(ctx)
	watched := make(chan error, 1)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		watched <- s.config.Store.Changes(watching, changePoll, func() {
			select {
			case wake <- struct{}{}:
			default: // it is going to look anyway
			}
		})
	})
	err := s.work(ctx, wake, watched)
	stop()
	watcher.Wait()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	s.sign(closing)
	return err
}

// work is Run until ctx ends or nobody watches the database any more.
func (s *Signer) work(ctx context.Context, wake <-chan struct{}, watched <-chan error) error {
	steady := context.WithoutCancel(ctx) // what has begun is finished, and not logged as a failure
	s.begin(steady)
	due := time.NewTimer(0) // at the start
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-watched:
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("watch the audit trail: %w", err)
		case <-wake:
			if n, err := s.unsigned(ctx); err == nil && n < s.records {
				continue
			}
		case <-due.C:
		}
		if s.sign(steady) {
			due.Reset(s.interval)
		} else {
			due.Reset(signerRetry)
		}
	}
}

// unsigned is how many records came after the last checkpoint.
func (s *Signer) unsigned(ctx context.Context) (int64, error) {
	seq, _, err := s.config.Store.Head(ctx)
	return seq - s.base.seq, err
}

// begin finds the newest checkpoint, and whether the database still meets it.
func (s *Signer) begin(ctx context.Context) {
	all, err := s.config.Store.Checkpoints(ctx)
	if err != nil {
		s.config.Logger.ErrorContext(ctx, "audit_checkpoints_unreadable", "err", err)
	}
	if s.config.File != "" {
		kept, err := readCheckpointFile(s.config.File)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.config.Logger.ErrorContext(ctx, "audit_checkpoints_unreadable", "err", err)
		}
		all = append(all, kept...)
	}
	var newest store.Checkpoint
	for _, c := range all {
		if c.Seq > newest.Seq {
			newest = c
		}
	}
	s.base = chain{seq: newest.Seq, hash: newest.Hash}
	if newest.Seq == 0 {
		return
	}
	there, err := batch(ctx, s.config.Store, newest.Seq-1, 1)
	switch {
	case err != nil:
		s.config.Logger.ErrorContext(ctx, "audit_trail_unreadable", "err", err)
	case len(there) == 0:
		s.tampered(ctx, fault(newest.Seq, Truncated, "The checkpoint of %s covers record %d, but the audit trail does not reach it any more.", at(newest), newest.Seq))
	case there[0].Seq != newest.Seq || there[0].Hash != newest.Hash:
		s.tampered(ctx, fault(newest.Seq, Rewritten, "Record %d is not the one that the checkpoint of %s was made of.", newest.Seq, at(newest)))
	}
}

// tampered makes a fault of the trail known. The next checkpoint is made of whatever
// the trail is then.
func (s *Signer) tampered(ctx context.Context, f *Fault) {
	s.broken, s.base = true, chain{}
	s.config.Logger.ErrorContext(ctx, tamperedEvent, "reason", f.What, "err", f)
	err := s.config.Store.AddRecord(ctx, store.Record{Kind: brokenKind, Result: store.Failed, Reason: f.What, Detail: f.Meaning})
	if err != nil {
		s.config.Logger.ErrorContext(ctx, "audit_record_failed", "err", err)
	}
}

// sign makes a checkpoint of all that is there, if anything is new, and reports
// whether that went well.
func (s *Signer) sign(ctx context.Context) bool {
	seq, hash, err := s.config.Store.Head(ctx)
	if err == nil && seq == s.base.seq && hash == s.base.hash {
		return true
	}
	if err == nil && !s.broken {
		s.recheck(ctx, seq)
		seq, hash, err = s.config.Store.Head(ctx)
	}
	if err != nil {
		s.config.Logger.ErrorContext(ctx, "audit_checkpoint_failed", "err", err)
		return false
	}
	c := sign(s.config.Key, s.config.Vouch, seq, hash, time.Now())
	if s.config.File != "" {
		if err := appendCheckpoint(s.config.File, c); err != nil {
			s.config.Logger.ErrorContext(ctx, "audit_checkpoint_failed", "err", fmt.Errorf("append to %s: %w", s.config.File, err))
			return false
		}
	}
	if err := s.config.Store.AddCheckpoint(ctx, c); err != nil && !errors.Is(err, store.ErrConflict) {
		s.config.Logger.ErrorContext(ctx, "audit_checkpoint_failed", "err", err)
		return false
	}
	s.base, s.broken = chain{seq: seq, hash: hash}, false
	if s.config.Notify != nil {
		s.config.Notify(c)
	}
	return true
}

// recheck walks from the last checkpoint to the record numbered last, so that nothing
// is signed in silence that was changed since it was written.
func (s *Signer) recheck(ctx context.Context, last int64) {
	walk := s.base
	err := s.config.Store.EachRecord(ctx, walk.seq, func(r store.Record) error {
		if r.Seq > last {
			return errEnough
		}
		return walk.next(r)
	})
	if f, ok := errors.AsType[*Fault](err); ok {
		s.tampered(ctx, f)
	} else if err == nil && walk.seq < last {
		s.tampered(ctx, fault(walk.seq+1, Truncated, "Records after number %d were removed.", walk.seq))
	}
}
