package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// TestBackupWhileOthersWrite: the copy is the database as it was at one moment, whole, and
// nobody who writes meanwhile is refused.
func TestBackupWhileOthersWrite(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	wrote := make(chan struct{}, 1)
	for range 2 {
		writers.Go(func() {
			for ctx.Err() == nil {
				if err := s.AddRecord(ctx, Record{Kind: "written", Detail: strings.Repeat("x", 3000)}); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				select {
				case wrote <- struct{}{}:
				default:
				}
			}
		})
	}
	for n := range 5 {
		<-wrote
		before, _, err := s.Head(ctx)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), fmt.Sprint(n, " 50%?.db"))
		if err := s.Backup(ctx, path); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v; want mode 0600", info, err)
		}
		c := openAt(t, path)
		if err := c.Check(ctx); err != nil {
			t.Error(err)
		}
		seq, _, err := c.Head(ctx)
		if err != nil || seq < before {
			t.Errorf("the copy ends with record %d, %v; %d was written before", seq, err, before)
		}
		last := int64(0)
		var hash [32]byte
		err = c.EachRecord(ctx, 0, func(r Record) error {
			if r.Seq != last+1 || r.Digest(hash) != r.Hash {
				return fmt.Errorf("record %d after %d", r.Seq, last)
			}
			last, hash = r.Seq, r.Hash
			return nil
		})
		if err != nil || last != seq {
			t.Errorf("the chain of the copy: %d of %d, %v", last, seq, err)
		}
	}
	stop()
	writers.Wait()
	have, err := s.SchemaVersion(t.Context())
	if known, _ := Schema(); err != nil || have != known || known < 4 {
		t.Errorf("schema %d of %d, %v", have, known, err)
	}
}

// TestBackupReplacesNothing, and leaves nothing when it fails.
func TestBackupReplacesNothing(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), path); !errors.Is(err, os.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("the file holds %q, %v", b, err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := s.Backup(ended, path+"2"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), path+"3"); !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed store: %v", err)
	}
	if left, _ := filepath.Glob(path + "?*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestCopyBeforeTheSchemaChanges: the database as it was is beside the new one, once.
func TestCopyBeforeTheSchemaChanges(t *testing.T) {
	t.Parallel()
	for version := 1; version < 4; version++ {
		path, conn := openOld(t, version)
		do(t, conn, "INSERT INTO setting (key, value) VALUES ('of', 'before')")
		for _, stale := range []string{".before-000", ".before-001.tmp"} {
			if err := os.WriteFile(path+stale, []byte("of another day"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		openAt(t, path)
		kept := fmt.Sprintf("%s.before-%03d", path, version)
		beside, err := filepath.Glob(path + ".before-*")
		if err != nil || len(beside) != 1 || beside[0] != kept {
			t.Fatalf("version %d: beside it are %v, %v", version, beside, err)
		}
		info, err := os.Stat(kept)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("version %d: %v, %v", version, info, err)
		}
		was, value := openRaw(t, kept), ""
		text, err := pragmaText(was, "user_version")
		if err != nil || text != fmt.Sprint(version) {
			t.Errorf("version %d: the copy has version %s, %v", version, text, err)
		}
		err = sqlitex.ExecuteTransient(was, "SELECT value FROM setting", &sqlitex.ExecOptions{ResultFunc: func(stmt *sqlite.Stmt) error {
			value = stmt.ColumnText(0)
			return nil
		}})
		if err != nil || value != "before" {
			t.Errorf("version %d: the copy holds %q, %v", version, value, err)
		}
	}
}

// TestNoCopyWithoutNeed: neither a new database nor one that is up to date is copied.
func TestNoCopyWithoutNeed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "borealis.db")
	for range 2 {
		if err := openAt(t, path).Close(); err != nil {
			t.Fatal(err)
		}
	}
	if beside, _ := filepath.Glob(path + ".before-*"); len(beside) > 0 {
		t.Errorf("copied: %v", beside)
	}
}

// TestNoCopyNoChange: when the copy cannot be kept the schema stays as it is.
func TestNoCopyNoChange(t *testing.T) {
	t.Parallel()
	path, conn := openOld(t, 2)
	if err := os.Mkdir(path+".before-002", 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "keep a copy before the schema changes") || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("opened: %v", err)
	}
	if text, err := pragmaText(conn, "user_version"); err != nil || text != "2" {
		t.Errorf("its version is %s, %v", text, err)
	}
	if left, _ := filepath.Glob(path + "*.tmp"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
