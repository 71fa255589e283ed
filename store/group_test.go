package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"zombiezen.com/go/sqlite"
)

// together holds the writing connection until all changes wait, calls meanwhile, and lets them be made.
func together(t *testing.T, s *Store, meanwhile func(), changes ...func() error) []error {
	t.Helper()
	conn := <-s.writer
	all := make([]error, len(changes))
	var work sync.WaitGroup
	for i, change := range changes {
		work.Go(func() { all[i] = change() })
		for waiting := 0; waiting <= i; {
			s.waiting.mu.Lock()
			waiting = len(s.waiting.all)
			s.waiting.mu.Unlock()
		}
	}
	meanwhile()
	s.writer <- conn
	work.Wait()
	return all
}

// TestWritesThatWaitShareATransaction, and what one of them cannot do takes nothing away from the others.
func TestWritesThatWaitShareATransaction(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	before := dataVersionOf(t, s)
	bad := errors.New("bad")
	all := together(t, s, func() {},
		func() error { return s.SetSetting(t.Context(), "first", "1") },
		func() error {
			return s.write(t.Context(), func(conn *sqlite.Conn) error {
				if err := run(conn, "setting_set", named{":key": "second", ":value": "2"}); err != nil {
					return err
				}
				return bad
			})
		},
		func() error { return s.AddRecord(t.Context(), Record{Kind: "third"}) },
		func() error {
			return s.write(t.Context(), func(conn *sqlite.Conn) error { return runOne(conn, "device_delete", named{":id": "nobody"}) })
		},
		func() error { return s.AddRecord(t.Context(), Record{Kind: "fifth"}) },
	)
	for i, want := range []error{nil, bad, nil, ErrNotFound, nil} {
		if !errors.Is(all[i], want) || want == nil && all[i] != nil {
			t.Errorf("write %d answers %v, want %v", i+1, all[i], want)
		}
	}
	if v, err := s.Setting(t.Context(), "first"); v != "1" || err != nil {
		t.Errorf("the first wrote %q, %v", v, err)
	}
	if _, err := s.Setting(t.Context(), "second"); !errors.Is(err, ErrNotFound) {
		t.Errorf("what the second did is there: %v", err)
	}
	lines, err := s.Records(t.Context(), RecordQuery{Scope: Scope{All: true}})
	if err != nil || len(lines) != 2 || lines[0].Kind != "fifth" || lines[1].Kind != "third" {
		t.Errorf("records: %+v, %v", lines, err)
	}
	if after := dataVersionOf(t, s); after != before+1 {
		t.Errorf("%d commits, want one", after-before)
	}
}

// dataVersionOf counts the commits that another connection sees.
func dataVersionOf(t *testing.T, s *Store) (n int) {
	t.Helper()
	conn, err := s.watcher.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.watcher.Put(conn)
	text, err := dataVersion(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestWaitingWriteIsLeft: who has had enough goes, and what the others want is done.
func TestWaitingWriteIsLeft(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	gone := make(chan struct{})
	all := together(t, s,
		func() { leave(); <-gone },
		func() error { return s.SetSetting(t.Context(), "first", "1") },
		func() error {
			defer close(gone)
			return s.SetSetting(ctx, "second", "2")
		},
	)
	if !errors.Is(all[1], context.Canceled) {
		t.Errorf("who left is told %v", all[1])
	}
	if all[0] != nil {
		t.Errorf("who stayed is told %v", all[0])
	}
	if _, err := s.Setting(t.Context(), "second"); !errors.Is(err, ErrNotFound) {
		t.Errorf("what nobody waited for was done: %v", err)
	}
}

// TestPanicAmongWrites: it hurts whoever makes them, and nobody waits for ever.
func TestPanicAmongWrites(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	var panics int
	var mu sync.Mutex
	guarded := func(f func() error) func() error {
		return func() (err error) {
			defer func() {
				if recover() != nil {
					mu.Lock()
					panics++
					mu.Unlock()
					err = errRolledBack
				}
			}()
			return f()
		}
	}
	all := together(t, s, func() {},
		guarded(func() error { return s.SetSetting(t.Context(), "first", "1") }),
		guarded(func() error { return s.write(t.Context(), func(*sqlite.Conn) error { panic("no") }) }),
	)
	if panics != 1 || all[0] == nil || all[1] == nil {
		t.Errorf("%d panics; the writes answer %v", panics, all)
	}
	if err := s.SetSetting(t.Context(), "after", "1"); err != nil {
		t.Errorf("after the panic: %v", err)
	}
	if _, err := s.Setting(t.Context(), "first"); !errors.Is(err, ErrNotFound) {
		t.Errorf("half a transaction is there: %v", err)
	}
}
