package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// set is a write inside a transaction.
func set(conn *sqlite.Conn, key string) error {
	return run(conn, "setting_set", named{":key": key, ":value": "set"})
}

// isSet says whether set was committed.
func isSet(t *testing.T, s *Store, key string) bool {
	t.Helper()
	_, err := s.Setting(t.Context(), key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// TestCancelInsideTransaction makes sure that a transaction that has begun is
// finished whole, and that the connection is fit for the next one.
func TestCancelInsideTransaction(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		first, second := fmt.Sprint("first", i), fmt.Sprint("second", i)
		err := s.write(ctx, func(conn *sqlite.Conn) error {
			if err := set(conn, first); err != nil {
				return err
			}
			cancel()
			return set(conn, second)
		})
		if err != nil || !isSet(t, s, first) || !isSet(t, s, second) {
			t.Errorf("round %d: error %v, set %v and %v", i, err, isSet(t, s, first), isSet(t, s, second))
		}
	}
}

func TestErrorRollsBack(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	trouble := errors.New("trouble")
	for name, fn := range map[string]func(*sqlite.Conn) error{
		"error": func(*sqlite.Conn) error { return trouble },
		"constraint": func(conn *sqlite.Conn) error {
			return errors.Join(trouble, sqlitex.ExecuteTransient(conn, "INSERT INTO setting VALUES ('error', 'x')", nil))
		},
		"bad SQL": func(conn *sqlite.Conn) error {
			return errors.Join(trouble, sqlitex.ExecuteTransient(conn, "SELEC", nil))
		},
	} {
		err := s.write(t.Context(), func(conn *sqlite.Conn) error {
			if err := set(conn, name); err != nil {
				return err
			}
			return fn(conn)
		})
		if !errors.Is(err, trouble) || isSet(t, s, name) {
			t.Errorf("%s: error %v, set %v", name, err, isSet(t, s, name))
		}
	}
	func() {
		defer func() {
			if p := recover(); p != "panic" {
				t.Errorf("recovered %v", p)
			}
		}()
		_ = s.write(t.Context(), func(conn *sqlite.Conn) error {
			if err := set(conn, "panic"); err != nil {
				t.Error(err)
			}
			panic("panic")
		})
	}()
	if isSet(t, s, "panic") {
		t.Error("a panic committed")
	}
	if err := s.SetSetting(t.Context(), "after", "all"); err != nil {
		t.Errorf("after errors and a panic: %v", err)
	}
}

// TestCancelAnywhere ends contexts at every moment of a call. Whatever the moment,
// an error means that nothing was written and nil that all was.
func TestCancelAnywhere(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	devices := addDevices(t, s, 8)
	var done, refused atomic.Int32
	atOnce(len(devices), func(worker int) error {
		for i := range 60 {
			wait := time.Duration(i*i*i) * time.Microsecond
			if i == 59 {
				wait = time.Minute
			}
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			id := fmt.Sprintf("%d-%d", worker, i)
			v := Tunnel{ID: id, DeviceID: devices[worker].ID, TokenID: "jti-" + id, State: "requested"}
			added := s.AddTunnel(ctx, v, noon.Add(time.Hour), Record{})
			cancel()
			if added != nil && !errors.Is(added, context.DeadlineExceeded) {
				t.Errorf("%s: error %v", id, added)
			}
			_, stored := s.Tunnel(t.Context(), id)
			redeemed := s.RedeemToken(t.Context(), "jti-"+id, noon)
			if (added == nil) != (stored == nil) || (added == nil) != (redeemed == nil) {
				t.Errorf("%s: added %v, stored %v, token %v", id, added, stored, redeemed)
			}
			if added != nil {
				refused.Add(1)
				continue
			}
			done.Add(1)
			if ended, err := s.EndTunnel(t.Context(), id, "r", noon, 0, 0, nil, Record{}); !ended || err != nil {
				t.Errorf("%s: ended %v, %v", id, ended, err)
			}
		}
		return nil
	})
	lines := 0
	err := s.read(t.Context(), func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT count(*) FROM audit WHERE kind = 'tunnel_requested'", &sqlitex.ExecOptions{
			ResultFunc: func(stmt *sqlite.Stmt) error { lines = stmt.ColumnInt(0); return nil },
		})
	})
	if err != nil || lines != int(done.Load()) {
		t.Errorf("%d records of %d tunnels, %v", lines, done.Load(), err)
	}
	if done.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d done and %d refused: the test wants both", done.Load(), refused.Load())
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCancelWhileWaitingForWriter(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	held, release := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		done <- s.write(context.Background(), func(conn *sqlite.Conn) error {
			close(held)
			<-release
			return set(conn, "holder")
		})
	}()
	<-held
	if err := s.read(t.Context(), func(*sqlite.Conn) error { return nil }); err != nil {
		t.Errorf("a reader beside a writer: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.SetSetting(ctx, "waiter", "set"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the waiter got %v, want context.DeadlineExceeded", err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !isSet(t, s, "holder") || isSet(t, s, "waiter") {
		t.Errorf("holder %v, waiter %v, want true, false", isSet(t, s, "holder"), isSet(t, s, "waiter"))
	}
}

func TestCancelRead(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	for range 3 * readerCount { // each reader is hit more than once
		ctx, cancel := context.WithCancel(t.Context())
		err := s.read(ctx, func(conn *sqlite.Conn) error {
			const endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n WHERE x % 1000 = 1"
			return sqlitex.Execute(conn, endless, &sqlitex.ExecOptions{ResultFunc: func(*sqlite.Stmt) error {
				cancel()
				return nil
			}})
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
		if _, err := s.Operators(t.Context()); err != nil {
			t.Errorf("the next read: %v", err)
		}
	}
}

// TestReadersAreBusy makes sure that a read waits for a free reader, and no longer
// than its context.
func TestReadersAreBusy(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	started, release := make(chan struct{}), make(chan struct{})
	done := make(chan []error)
	go func() {
		done <- atOnce(readerCount, func(int) error {
			return s.read(t.Context(), func(*sqlite.Conn) error {
				started <- struct{}{}
				<-release
				return nil
			})
		})
	}()
	for range readerCount {
		<-started
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Operators(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want context.DeadlineExceeded", err)
	}
	if err := s.SetSetting(t.Context(), "writer", "goes on"); err != nil {
		t.Error(err)
	}
	close(release)
	count(t, <-done, nil)
	if _, err := s.Operators(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestOtherProcessHoldsLock uses a connection of its own, which is to SQLite what
// another process is.
func TestOtherProcessHoldsLock(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	other := openRaw(t, s.path(t))
	do(t, other, "BEGIN IMMEDIATE", "INSERT INTO setting VALUES ('theirs', '')")
	if isSet(t, s, "theirs") {
		t.Error("a reader sees what is not committed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.SetSetting(ctx, "ours", "set"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want context.DeadlineExceeded", err)
	}
	if !testing.Short() {
		before := time.Now()
		err := s.SetSetting(t.Context(), "ours", "set")
		if waited := time.Since(before); !errors.Is(err, ErrBusy) || waited < busyTimeout {
			t.Errorf("error %v after %v, want ErrBusy after %v", err, waited, busyTimeout)
		}
	}
	waiting := make(chan error)
	go func() { waiting <- s.SetSetting(t.Context(), "ours", "set") }()
	do(t, other, "COMMIT")
	if err := <-waiting; err != nil || !isSet(t, s, "ours") || !isSet(t, s, "theirs") {
		t.Errorf("after their commit: %v, ours %v, theirs %v", err, isSet(t, s, "ours"), isSet(t, s, "theirs"))
	}
}
