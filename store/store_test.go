package store

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"
)

func TestOpenMakesPrivateFiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path := filepath.Join(root, "Engine", "data", "borealis.db")
	s := openAt(t, path)
	if err := s.SetSetting(t.Context(), "key", "value"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Setting(t.Context(), "key"); err != nil { // a reader has the file open too
		t.Fatal(err)
	}
	want := map[string]os.FileMode{
		"Engine": 0o700, "Engine/data": 0o700,
		"Engine/data/borealis.db": 0o600, "Engine/data/borealis.db-wal": 0o600, "Engine/data/borealis.db-shm": 0o600,
	}
	if diff := cmp.Diff(want, modes(t, root)); diff != "" {
		t.Errorf("modes while open (-want +got):\n%s", diff)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	delete(want, "Engine/data/borealis.db-wal") // folded into the file
	delete(want, "Engine/data/borealis.db-shm")
	if diff := cmp.Diff(want, modes(t, root)); diff != "" {
		t.Errorf("modes when closed (-want +got):\n%s", diff)
	}
}

// modes are the permissions of all that is in a directory.
func modes(t *testing.T, root string) map[string]os.FileMode {
	t.Helper()
	modes := make(map[string]os.FileMode)
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		modes[name] = info.Mode().Perm()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return modes
}

func TestOpenTightensRights(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "borealis.db")
	if err := openAt(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	openAt(t, path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
}

func TestOpenPaths(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, name := range []string{":memory:", "file:a?mode=memory", "50% #1?.db", "ä b\n", "-wal"} {
		path := filepath.Join(root, name)
		s := openAt(t, path)
		if err := s.SetSetting(t.Context(), "name", name); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := openAt(t, path).Setting(t.Context(), "name"); err != nil || got != name {
			t.Errorf("file %q: %q, %v", name, got, err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("file %q: %v", name, err)
		}
	}
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, "gone"), filepath.Join(root, "dangling")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", root, filepath.Join(file, "borealis.db"), filepath.Join(root, "dangling")} {
		if s, err := Open(t.Context(), path); err == nil {
			t.Errorf("path %q was opened: %v", path, s.Close())
		}
	}
}

func TestOpenRelativePath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, path := range []string{":memory:", "new/../borealis.db", ""} {
		s, err := Open(t.Context(), path)
		if path == "" {
			if err == nil {
				t.Error("an empty path was opened", s.Close())
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, path)); err != nil {
			t.Errorf("path %q: %v", path, err)
		}
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	s, ctx := openTest(t), t.Context()
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, err := range everyMethod(ctx, s) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: error %v, want ErrClosed", name, err)
		}
	}
}

func TestEndedContext(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range everyMethod(ctx, s) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v, want context.Canceled", name, err)
		}
	}
	if got := kinds(t, s); got != "" {
		t.Errorf("activity %q was written", got)
	}
	if _, err := Open(ctx, filepath.Join(t.TempDir(), "borealis.db")); !errors.Is(err, context.Canceled) {
		t.Errorf("open: error %v, want context.Canceled", err)
	}
}

func TestCloseWhileBusy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "borealis.db")
	s := openAt(t, path)
	acknowledged := make([]int, 8)
	started := make(chan struct{}, 2*len(acknowledged))
	done := make(chan []error)
	go func() {
		done <- atOnce(2*len(acknowledged), func(i int) error {
			for n := 0; ; n++ {
				var err error
				if i < len(acknowledged) {
					err = s.SetSetting(context.Background(), fmt.Sprint(i, "-", n), "written")
				} else {
					_, _, err = s.Devices(context.Background(), DeviceQuery{Scope: everything})
				}
				if err != nil {
					return err
				}
				if i < len(acknowledged) {
					acknowledged[i] = n + 1
				}
				if n == 2 {
					started <- struct{}{}
				}
			}
		})
	}()
	for range cap(started) {
		<-started
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i, err := range <-done {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("goroutine %d ended with %v, want ErrClosed", i, err)
		}
	}
	s = openAt(t, path)
	for i, n := range acknowledged {
		for k := range n + 1 {
			_, err := s.Setting(t.Context(), fmt.Sprint(i, "-", k))
			if k < n && err != nil {
				t.Errorf("acknowledged write %d of %d is lost: %v", k, i, err)
			}
			if k == n && !errors.Is(err, ErrNotFound) {
				t.Errorf("refused write %d of %d was done: %v", k, i, err)
			}
		}
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "borealis.db")
	s := openAt(t, path)
	ctx := t.Context()
	ada := addOperator(t, s, "ada")
	if _, err := s.AddSession(ctx, hash("cookie"), Session{OperatorID: ada.ID, ExpiresAt: noon}, Record{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddAPIToken(ctx, hash("token"), APIToken{OperatorID: ada.ID, Label: "ci"}, Record{}); err != nil {
		t.Fatal(err)
	}
	d := addDevices(t, s, 1)[0]
	if _, err := s.Lease(ctx, d.ID, pool16); err != nil {
		t.Fatal(err)
	}
	addTunnel(t, s, "t1", d)
	if err := s.SetSetting(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SetOverrides(ctx, d.ID, 0, someOverrides()); err != nil {
		t.Fatal(err)
	}
	before := dump(t, s, ada, d)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openAt(t, path)
		if diff := cmp.Diff(before, dump(t, s, ada, d), cmpAddr); diff != "" {
			t.Errorf("after a restart (-before +after):\n%s", diff)
		}
	}
	if err := s.RedeemToken(ctx, "jti-t1", noon); err != nil {
		t.Errorf("token after a restart: %v", err)
	}
}

// dump reads everything there is of an operator and a device.
func dump(t *testing.T, s *Store, o Operator, d Device) []any {
	t.Helper()
	ctx := t.Context()
	operator, err1 := s.Operator(ctx, o.ID)
	session, _, err2 := s.SessionByHash(ctx, hash("cookie"))
	token, _, err3 := s.APITokenByHash(ctx, hash("token"))
	codes, err4 := s.Codes(ctx)
	devices, total, err5 := s.Devices(ctx, DeviceQuery{Scope: everything})
	tunnels, err6 := s.Tunnels(ctx, d.ID, 0)
	lines, err7 := s.Records(ctx, RecordQuery{Scope: everything})
	value, err8 := s.Setting(ctx, "k")
	revision, overrides, err9 := s.Overrides(ctx, d.ID)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, err8, err9, s.Check(ctx)); err != nil {
		t.Fatal(err)
	}
	return []any{operator, session, token, codes, devices, total, tunnels, lines, value, revision, overrides}
}

func TestTwoStoresOnOneFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "borealis.db")
	stores := []*Store{openAt(t, path), openAt(t, path)}
	addCode(t, stores[0], "secret", Code{Uses: 20})
	errs := atOnce(60, func(i int) error {
		_, err := stores[i%2].RedeemCode(t.Context(), hash("secret"), Device{Pin: pin(i)}, noon, Record{})
		return err
	})
	if n := count(t, errs, ErrCodeUsed); n != 20 {
		t.Errorf("%d of 60 redeemed the code, want 20", n)
	}
	addresses := make(map[netip.Addr]bool)
	devices, total, err := stores[1].Devices(t.Context(), DeviceQuery{Scope: everything})
	if err != nil || total != 20 {
		t.Fatal(total, err)
	}
	for i, d := range devices {
		a, err := stores[i%2].Lease(t.Context(), d.ID, pool16)
		if err != nil || addresses[a] {
			t.Errorf("device %d got %s a second time, %v", i, a, err)
		}
		addresses[a] = true
		again, err := stores[(i+1)%2].Lease(t.Context(), d.ID, pool16)
		if err != nil || again != a {
			t.Errorf("the other store says %s, %v, want %s", again, err, a)
		}
	}
	if err := stores[0].Close(); err != nil {
		t.Fatal(err)
	}
	// The locks of a process are per file: closing one store must not drop the other's.
	if err := stores[1].SetSetting(t.Context(), "still", "open"); err != nil {
		t.Error(err)
	}
	if got, err := openAt(t, path).Setting(t.Context(), "still"); err != nil || got != "open" {
		t.Errorf("a third store reads %q, %v", got, err)
	}
}

func TestOpenAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "borealis.db")
	errs := atOnce(12, func(i int) error {
		s, err := Open(t.Context(), path)
		if err != nil {
			return err
		}
		return errors.Join(s.SetSetting(t.Context(), fmt.Sprint(i), "opened"), s.Close())
	})
	count(t, errs, nil)
	s := openAt(t, path)
	for i := range errs {
		if _, err := s.Setting(t.Context(), fmt.Sprint(i)); err != nil {
			t.Errorf("store %d: %v", i, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if len(left) != 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	tests := map[string]struct{ in, want time.Time }{
		"zero":         {time.Time{}, time.Time{}},
		"now":          {noon, noon},
		"before 1970":  {time.Date(1969, 1, 1, 0, 0, 0, 5, time.UTC), time.Date(1969, 1, 1, 0, 0, 0, 5, time.UTC)},
		"another zone": {noon.In(time.FixedZone("X", -5*3600)), noon},
		"far future":   {time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(2262, 4, 11, 23, 47, 16, 0, time.UTC)},
		"far past":     {time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC), time.Date(1677, 9, 21, 0, 12, 44, 0, time.UTC)},
	}
	ada := addOperator(t, s, "ada")
	for name, test := range tests {
		added, err := s.AddAPIToken(t.Context(), hash(name), APIToken{OperatorID: ada.ID, ExpiresAt: test.in}, Record{})
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := s.APITokenByHash(t.Context(), hash(name))
		if err != nil || got != added || got.ExpiresAt != test.want {
			t.Errorf("%s: %v came back as %v (added as %v), %v, want %v", name, test.in, got.ExpiresAt, added.ExpiresAt, err, test.want)
		}
	}
}

func TestEveryTableIsStrict(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	tables := make(map[string]string)
	conn := openRaw(t, s.path(t))
	rows(t, conn, "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%'", func(stmt *sqlite.Stmt) {
		tables[stmt.ColumnText(0)] = stmt.ColumnText(1)
	})
	want := map[string]string{}
	for table := range strings.FieldsSeq("api_token audit audit_checkpoint code device identity inventory lease lock operator passkey " +
		"port_override recovery_code session setting totp tunnel tunnel_token") {
		want[table] = "1"
	}
	if diff := cmp.Diff(want, tables); diff != "" {
		t.Errorf("strict tables (-want +got):\n%s", diff)
	}
	do(t, conn, "PRAGMA foreign_keys = OFF")
	for _, statement := range []string{
		"INSERT INTO lease VALUES (10, 'd', 'yesterday')",
		"INSERT INTO audit VALUES (1, 'noon', '', '', '', 'k', NULL, NULL, '', 'done', '', '', zeroblob(32))",
		"INSERT INTO setting VALUES ('k', x'00')",
		"INSERT INTO setting VALUES (NULL, 'v')",
		"INSERT INTO operator VALUES ('i', 'n', 'n', 'h', 'r', 1.5, '[]')",
	} {
		stmt, _, err := conn.PrepareTransient(statement)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stmt.Step(); sqlite.ErrCode(err).ToPrimary() != sqlite.ResultConstraint {
			t.Errorf("%s: error %v, want a constraint", statement, err)
		}
		_ = stmt.Finalize() // repeats the error of Step
	}
}

func TestConnections(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	want := map[string]string{
		"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "trusted_schema": "0", "cell_size_check": "1",
	}
	check := func(conn *sqlite.Conn) error {
		for pragma, value := range want {
			if got, err := pragmaText(conn, pragma); got != value || err != nil {
				t.Errorf("%s is %q, %v, want %q", pragma, got, err, value)
			}
		}
		return nil
	}
	if err := s.write(t.Context(), check); err != nil {
		t.Error(err)
	}
	if err := s.read(t.Context(), check); err != nil {
		t.Error(err)
	}
	err := s.read(t.Context(), func(conn *sqlite.Conn) error {
		return run(conn, "setting_set", named{":key": "k", ":value": "v"})
	})
	if sqlite.ErrCode(err).ToPrimary() != sqlite.ResultReadOnly {
		t.Errorf("a reader writes: error %v, want a read-only database", err)
	}
}
