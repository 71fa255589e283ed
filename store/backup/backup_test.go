package backup

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"borealis/store"
	"borealis/store/audit"
)

// TestRoundTrip makes a backup while the store is open, and a data root of it.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.session(t)
	made := r.backup(t, "one.age")
	info, err := os.Stat(made.Path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != made.Size || len(made.SHA256) != 64 {
		t.Errorf("%v, %v; made %+v", info, err, made)
	}
	before := r.records(t, r.root)
	r.add(t, 3) // which the backup does not know
	r.sign(t)
	if left := r.litter(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	root := filepath.Join(r.dir, "new", "root")
	got, err := Restore(t.Context(), r.restoring(made.Path, root))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made.Manifest, got.Manifest); diff != "" || got.SHA256 != made.SHA256 || got.Aside != "" {
		t.Errorf("restored %+v (-made +restored):\n%s", got, diff)
	}
	files := tree(t, root)
	for name, want := range map[string]string{
		"Engine/Certificates/identity.crt": "a certificate", "Engine/Certificates/identity.key": "a sealed key",
		"Engine/Certificates/VPN_Server/wireguard.key": "another sealed key", "Engine/syslog_cursor": "2\n",
	} {
		if files[name] != want {
			t.Errorf("%s holds %q, want %q", name, files[name], want)
		}
		delete(files, name)
	}
	if n := strings.Count(files[checkpointsPath], "\n"); n != 1 {
		t.Errorf("there are %d checkpoints:\n%s", n, files[checkpointsPath])
	}
	for _, name := range []string{"Engine", "Engine/Certificates", "Engine/Certificates/VPN_Server", "Engine/Logs", databasePath, checkpointsPath} {
		delete(files, name)
	}
	if len(files) > 0 {
		t.Errorf("there is also %v", files)
	}

	after := r.records(t, root)
	if diff := cmp.Diff(before, after[:len(before)]); diff != "" || len(after) != len(before)+1 {
		t.Fatalf("%d records became %d (-before +after):\n%s", len(before), len(after), diff)
	}
	last := after[len(before)]
	if last.Kind != "restored" || last.Actor != "console" || last.Source != "local user test" || last.Target != "one.age" || !strings.Contains(last.Detail, made.SHA256) {
		t.Errorf("on record is %+v", last)
	}
	s := r.open(t, root)
	if _, _, err := s.SessionByHash(t.Context(), [32]byte{1}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a session of before: %v", err)
	}
	if left := r.litter(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	// The trail is as it was written; with checkpoints of what is forgotten it is not, and
	// the answer says why that may be.
	vouched, err := r.trust(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	report, err := audit.VerifyStore(t.Context(), s, []string{filepath.Join(root, checkpointsPath)}, audit.Options{Vouched: vouched})
	if err != nil || !report.OK() || report.Checkpoints != 1 {
		t.Errorf("%v, %v", report, err)
	}
	report, err = audit.VerifyStore(t.Context(), s, []string{filepath.Join(r.root, checkpointsPath)}, audit.Options{Vouched: vouched})
	if err != nil || report.OK() || !strings.Contains(report.String(), "restored from a backup") {
		t.Errorf("with the checkpoints of before: %v, %v", report, err)
	}
}

// TestAnyAgeProgramOpensIt: it is an age file around a tar archive, and nothing secret is
// in the clear around it.
func TestAnyAgeProgramOpensIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	second, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	c := r.config()
	c.Recipients = append([]age.Recipient{}, second.Recipient())
	m, err := Make(t.Context(), c, filepath.Join(r.dir, "one.age"))
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(m.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	plain, err := age.Decrypt(in, second)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(plain)
	var names []string
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if h.Name == manifestName {
			var got Manifest
			if err := json.NewDecoder(archive).Decode(&got); err != nil || got.Seq != 7 || got.Engine != "abcdefghijk" || got.EngineVersion != "1.2.3" {
				t.Errorf("manifest %+v, %v", got, err)
			}
		}
	}
	want := []string{
		manifestName, "Engine/Certificates/VPN_Server/wireguard.key", "Engine/Certificates/identity.crt", "Engine/Certificates/identity.key",
		checkpointsPath, cursorPath, databasePath,
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// TestMakeRefuses what would be no backup, and leaves nothing.
func TestMakeRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	taken := filepath.Join(r.dir, "taken")
	r.write(t, taken, "mine")
	refused := errors.New("not on record")
	for name, c := range map[string]struct {
		path   string
		change func(*Config)
		ok     func(error) bool
	}{
		"a file that is there": {taken, func(*Config) {}, func(err error) bool { return errors.Is(err, fs.ErrExist) }},
		"nobody to open it":    {"new", func(c *Config) { c.Recipients = nil }, func(err error) bool { return strings.Contains(err.Error(), "recipient") }},
		"not on record": {
			"new", func(c *Config) { c.Record = func(context.Context, Made) error { return refused } },
			func(err error) bool { return errors.Is(err, refused) },
		},
		"another engine's checkpoints": {"new", func(c *Config) { c.Trust = newRig(t).trust }, func(err error) bool {
			_, ok := errors.AsType[*TrailError](err)
			return ok
		}},
		"no such folder": {"nowhere/new", func(*Config) {}, func(err error) bool { return errors.Is(err, fs.ErrNotExist) }},
	} {
		config := r.config()
		c.change(&config)
		if !filepath.IsAbs(c.path) {
			c.path = filepath.Join(r.dir, c.path)
		}
		if _, err := Make(t.Context(), config, c.path); err == nil || !c.ok(err) {
			t.Errorf("%s: %v", name, err)
		}
		if left := r.litter(t); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
	all := tree(t, r.dir)
	if all["taken"] != "mine" || all["new"] != "" {
		t.Error("a file was written")
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := Make(ended, r.config(), filepath.Join(r.dir, "new")); !errors.Is(err, context.Canceled) || len(r.litter(t)) > 0 {
		t.Errorf("after the end of its context: %v; left: %v", err, r.litter(t))
	}
}

// TestBrokenTrail: neither a backup nor a restore passes it over in silence.
func TestBrokenTrail(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	conn, err := sqlite.OpenConn(filepath.Join(r.root, databasePath), sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	var triggers []string
	err = sqlitex.ExecuteTransient(conn, "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'audit'", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error { triggers = append(triggers, stmt.ColumnText(0)); return nil },
	})
	for _, name := range triggers {
		err = errors.Join(err, sqlitex.ExecuteTransient(conn, "DROP TRIGGER "+name, nil))
	}
	if err = errors.Join(err, sqlitex.ExecuteTransient(conn, "UPDATE audit SET detail = 'else' WHERE seq = 3", nil), conn.Close()); err != nil {
		t.Fatal(err)
	}
	broken := func(err error) bool {
		e, ok := errors.AsType[*TrailError](err)
		return ok && strings.Contains(e.Meaning, "Record 3")
	}
	c := r.config()
	if _, err := Make(t.Context(), c, filepath.Join(r.dir, "one.age")); !broken(err) {
		t.Errorf("backup: %v", err)
	}
	c.Despite = true
	m, err := Make(t.Context(), c, filepath.Join(r.dir, "one.age"))
	if err != nil || !strings.Contains(m.Manifest.Trail, "Record 3") {
		t.Fatalf("backup in spite of it: %+v, %v", m.Manifest, err)
	}
	root := filepath.Join(r.dir, "new")
	back := r.restoring(m.Path, root)
	if _, err := Restore(t.Context(), back); !broken(err) {
		t.Errorf("restore: %v", err)
	}
	if _, err := os.Stat(root); err == nil {
		t.Error("a data root was made")
	}
	back.Despite = true
	if _, err := Restore(t.Context(), back); err != nil {
		t.Errorf("restore in spite of it: %v", err)
	}
}

// TestCutCheckpoint: a line that is being written is not in the backup.
func TestCutCheckpoint(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	path := filepath.Join(r.root, checkpointsPath)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, path, string(whole)+`{"seq": 7`)
	m := r.backup(t, "one.age")
	i := slices.IndexFunc(m.Manifest.Files, func(f File) bool { return f.Path == checkpointsPath })
	if i < 0 || m.Manifest.Files[i].Size != int64(len(whole)) {
		t.Errorf("files: %+v; the whole lines have %d bytes", m.Manifest.Files, len(whole))
	}
}

func TestKeep(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "0", "-1", "a", "1/2", "1/2/3/4", "1//3", "10001"} {
		if k, err := ParseKeep(text); err == nil {
			t.Errorf("%q: %+v", text, k)
		}
	}
	const engine = "abcdefghijk"
	names := []string{
		"borealis-abcdefgh-20261123T110000Z.age", "borealis-abcdefgh-20261123T103000Z.age", "borealis-abcdefgh-20261123T100000Z.age",
		"borealis-abcdefgh-20261122T230000Z.age", "borealis-abcdefgh-20261122T220000Z.age", "borealis-abcdefgh-20261115T010000Z.age",
		"borealis-abcdefgh-20261109T010000Z.age", "borealis-abcdefgh-20261101T010000Z.age",
	}
	foreign := []string{
		"borealis-zzzzzzzz-20200101T000000Z.age", "borealis-abcdefgh-20200101T000000Z.age.txt", "borealis-abcdefgh-20260231T000000Z.age",
		"mine.age", "borealis-abcdefgh-old.age",
	}
	for text, want := range map[string][]int{
		"1":      {0},
		"3":      {0, 1, 2},
		"100":    {0, 1, 2, 3, 4, 5, 6, 7},
		"2/1/1":  {0, 1},       // the newest one of each of the hours 11 and 10
		"3/2/3":  {0, 1, 3, 5}, // the week of the 9th ends with the 15th
		"24/9/9": {0, 1, 3, 4, 5, 6, 7},
	} {
		dir := t.TempDir()
		for _, name := range slices.Concat(names, foreign) {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		k, err := ParseKeep(text)
		if err != nil {
			t.Fatal(err)
		}
		removed, err := Prune(dir, engine, k)
		if err != nil {
			t.Fatal(err)
		}
		left := tree(t, dir)
		for _, name := range foreign {
			if _, there := left[name]; !there {
				t.Errorf("%s: %s was removed", text, name)
			}
		}
		var kept []int
		for i, name := range names {
			if _, there := left[name]; there {
				kept = append(kept, i)
			}
		}
		t.Logf("%s: kept %v, removed %d", text, kept, len(removed))
		if diff := cmp.Diff(want, kept); diff != "" || len(removed)+len(kept) != len(names) {
			t.Errorf("%s: removed %d (-want +kept):\n%s", text, len(removed), diff)
		}
	}
}
