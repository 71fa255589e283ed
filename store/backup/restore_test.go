package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
)

// An entry is one file of an archive that somebody made up.
type entry struct {
	header tar.Header
	body   string
}

// entries are what a backup holds, the manifest first.
func (r *rig) entries(t *testing.T, path string) []entry {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	plain, err := age.Decrypt(in, r.id)
	if err != nil {
		t.Fatal(err)
	}
	var all []entry
	for archive := tar.NewReader(plain); ; {
		h, err := archive.Next()
		if err != nil {
			return all
		}
		var body bytes.Buffer
		if _, err := body.ReadFrom(archive); err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{*h, body.String()})
	}
}

// forge encrypts an archive of entries. Sizes of headers that are zero are those of bodies.
func (r *rig) forge(t *testing.T, name string, all []entry) string {
	t.Helper()
	path := filepath.Join(r.dir, name)
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	sealed, err := age.Encrypt(out, r.id.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewWriter(sealed)
	for _, e := range all {
		h := tar.Header{Typeflag: e.header.Typeflag, Name: e.header.Name, Linkname: e.header.Linkname, Size: int64(len(e.body)), Mode: 0o600}
		err := archive.WriteHeader(&h)
		if err == nil {
			_, err = archive.Write([]byte(e.body))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), sealed.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// told changes what the manifest of entries says.
func told(t *testing.T, all []entry, change func(*Manifest)) []entry {
	t.Helper()
	all = slices.Clone(all)
	var m Manifest
	if err := json.Unmarshal([]byte(all[0].body), &m); err != nil {
		t.Fatal(err)
	}
	m.Files = slices.Clone(m.Files)
	change(&m)
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	all[0].body = string(text)
	return all
}

// TestForgedBackups: whatever somebody who knows the recipient encrypts, nothing is written
// outside, nothing is put in place, and nothing is left.
func TestForgedBackups(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	good := r.entries(t, r.backup(t, "good.age").Path)
	if _, err := Restore(t.Context(), r.restoring(r.forge(t, "same.age", good), filepath.Join(r.dir, "same"))); err != nil {
		t.Fatalf("the same files: %v", err)
	}
	named := func(name string) []entry {
		all := told(t, good, func(m *Manifest) { m.Files[0].Path = name })
		all[1].header.Name = name
		return all
	}
	db := len(good) - 1
	cases := map[string][]entry{
		"nothing":           nil,
		"no manifest":       good[1:],
		"only a manifest":   good[:1],
		"a file is missing": slices.Delete(slices.Clone(good), 2, 3),
		"another order":     append(slices.Clone(good[:1]), append(slices.Clone(good[2:]), good[1])...),
		"one more":          append(slices.Clone(good), entry{tar.Header{Typeflag: tar.TypeReg, Name: "Engine/Certificates/more"}, "x"}),
		"not JSON":          append([]entry{{good[0].header, "{"}}, good[1:]...),
		"a huge manifest":   append([]entry{{good[0].header, strings.Repeat(" ", maxManifest+1)}}, good[1:]...),
		"upwards":           named("Engine/Certificates/../../../escaped"),
		"upwards and on":    named("../escaped"),
		"absolute":          named(filepath.Join(r.dir, "escaped")),
		"backslashes":       named(`Engine/Certificates/..\..\..\escaped`),
		"a stream":          named("Engine/Certificates/a:b"),
		"elsewhere":         named("Engine/Logs/reverse_tunnel.log"),
		"the folder itself": told(t, good, func(m *Manifest) { m.Files[0].Path = "Engine/Certificates/" }),
		"another format":    told(t, good, func(m *Manifest) { m.Format = "tar" }),
		"a newer format":    told(t, good, func(m *Manifest) { m.Version = 2 }),
		"a newer schema":    told(t, good, func(m *Manifest) { m.Schema = 99 }),
		"twice":             told(t, good, func(m *Manifest) { m.Files[1] = m.Files[0] }),
		"no database":       told(t, good, func(m *Manifest) { m.Files = m.Files[:len(m.Files)-1] }),
		"a negative size":   told(t, good, func(m *Manifest) { m.Files[0].Size = -1 }),
		"a huge key":        told(t, good, func(m *Manifest) { m.Files[0].Size = maxSmall + 1 }),
		"a huge database":   told(t, good, func(m *Manifest) { m.Files[len(m.Files)-1].Size = 63 << 30 }),
		"another size":      told(t, good, func(m *Manifest) { m.Files[0].Size++ }),
		"another hash":      told(t, good, func(m *Manifest) { m.Files[0].SHA256 = m.Files[1].SHA256 }),
		"another trail":     told(t, good, func(m *Manifest) { m.Hash = strings.Repeat("0", 64) }),
		"a longer trail":    told(t, good, func(m *Manifest) { m.Seq++ }),
		"too many files": told(t, good, func(m *Manifest) {
			m.Files = slices.Repeat(m.Files, maxFiles)
		}),
	}
	for _, kind := range []byte{tar.TypeSymlink, tar.TypeLink, tar.TypeDir, tar.TypeFifo, tar.TypeChar} {
		all := told(t, good, func(m *Manifest) { m.Files[0].Size = 0 })
		all[1] = entry{tar.Header{Typeflag: kind, Name: all[1].header.Name, Linkname: filepath.Join(r.dir, "good.age")}, ""}
		cases["type "+string(kind)] = all
	}
	spoilt := slices.Clone(good)
	spoilt[db].body = strings.Repeat("no database ", 1000)
	cases["no database but its name"] = told(t, spoilt, func(m *Manifest) {
		f := &m.Files[len(m.Files)-1]
		f.Size, f.SHA256 = int64(len(spoilt[db].body)), digest(spoilt[db].body)
	})
	before := tree(t, r.dir)
	for name, all := range cases {
		forged := r.forge(t, "forged.age", all)
		root := filepath.Join(r.dir, "forged")
		if _, err := Restore(t.Context(), r.restoring(forged, root)); err == nil {
			t.Errorf("%s: restored", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
		os.Remove(forged)
		if diff := cmp.Diff(keysOf(before), keysOf(tree(t, r.dir))); diff != "" {
			t.Fatalf("%s: files (-before +after):\n%s", name, diff)
		}
	}
}

// TestDamagedBackups: a file that was cut, changed or lengthened anywhere is refused.
func TestDamagedBackups(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	good, err := os.ReadFile(r.backup(t, "good.age").Path)
	if err != nil {
		t.Fatal(err)
	}
	root, path := filepath.Join(r.dir, "new"), filepath.Join(r.dir, "bad.age")
	refused := func(name string, content []byte) {
		t.Helper()
		r.write(t, path, string(content))
		if _, err := Restore(t.Context(), r.restoring(path, root)); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrIdentity) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(root); err == nil || len(r.litter(t)) > 0 {
			t.Fatalf("%s: left behind: %v, %v", name, err, r.litter(t))
		}
	}
	refused("empty", nil)
	refused("longer", append(slices.Clone(good), 0))
	for i := range 40 {
		at := i * (len(good) - 1) / 39
		refused("cut", good[:at])
		changed := slices.Clone(good)
		changed[at] ^= 1
		refused("changed", changed)
	}
	other := newRig(t)
	c := r.restoring(filepath.Join(r.dir, "good.age"), root)
	c.Identities = []age.Identity{other.id}
	if _, err := Restore(t.Context(), c); !errors.Is(err, ErrIdentity) {
		t.Errorf("another identity: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := Restore(ended, r.restoring(filepath.Join(r.dir, "good.age"), root)); !errors.Is(err, ended.Err()) {
		t.Errorf("after the end of its context: %v", err)
	}
}

// TestRestoreReplaces moves what was there aside, whole, and keeps its checkpoints in sight.
func TestRestoreReplaces(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	made := r.backup(t, "one.age")
	r.add(t, 3)
	r.sign(t)
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	before := tree(t, r.root)
	c := r.restoring(made.Path, r.root)
	if _, err := Restore(t.Context(), c); !errors.Is(err, ErrInUse) {
		t.Errorf("without being told to replace: %v", err)
	}
	c.Replace = true
	refused := errors.New("another engine")
	c.Check = func(_ context.Context, root string, m Manifest) error {
		if _, err := os.Stat(filepath.Join(root, databasePath)); err != nil || m.Seq != 7 {
			t.Errorf("to be checked: %v, %+v", err, m)
		}
		return refused
	}
	if _, err := Restore(t.Context(), c); !errors.Is(err, refused) {
		t.Errorf("refused by the check: %v", err)
	}
	if diff := cmp.Diff(before, tree(t, r.root)); diff != "" {
		t.Errorf("after refusals (-before +after):\n%s", diff)
	}
	c.Check = nil
	got, err := Restore(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, tree(t, got.Aside)); diff != "" || !strings.HasPrefix(got.Aside, r.root+".before-restore-") {
		t.Errorf("moved to %s (-before +after):\n%s", got.Aside, diff)
	}
	kept, err := filepath.Glob(filepath.Join(r.root, checkpointsPath+".before-restore-*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept checkpoints: %v, %v", kept, err)
	}
	if b, err := os.ReadFile(kept[0]); err != nil || string(b) != before[checkpointsPath] {
		t.Errorf("the checkpoints of before: %q, %v", b, err)
	}
	if left := r.litter(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if last := r.records(t, r.root); last[len(last)-1].Kind != "restored" {
		t.Errorf("the trail ends with %+v", last[len(last)-1])
	}
}

// TestOlderBackup is brought to the newest schema.
func TestOlderBackup(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := filepath.Join(r.dir, "older")
	db := filepath.Join(root, databasePath)
	r.write(t, filepath.Join(root, certificatesPath, "identity.crt"), "a certificate")
	r.write(t, db, "")
	conn, err := sqlite.OpenConn(db, sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob("../sql/migrations/*.sql")
	if err != nil || len(scripts) < 4 {
		t.Fatal(scripts, err)
	}
	for _, path := range scripts[:3] {
		script, err := os.ReadFile(path)
		if err == nil {
			err = sqlitex.ExecuteScript(conn, string(script), nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	err = sqlitex.ExecuteScript(conn, "DROP TABLE activity; INSERT INTO setting (key, value) VALUES ('of', 'before'); PRAGMA application_id = 1112689747; PRAGMA user_version = 3;", nil)
	if err = errors.Join(err, conn.Close()); err != nil {
		t.Fatal(err)
	}
	m := Manifest{Format: format, Version: version, Schema: 3, EngineVersion: "0.1.0"}
	for _, name := range []string{certificatesPath + "/identity.crt", databasePath} {
		sum, size, err := sum(t.Context(), filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		m.Files = append(m.Files, File{name, size, sum})
	}
	path := filepath.Join(r.dir, "older.age")
	if _, _, err := encrypt(t.Context(), path, root, m, []age.Recipient{r.id.Recipient()}); err != nil {
		t.Fatal(err)
	}
	got, err := Restore(t.Context(), r.restoring(path, filepath.Join(r.dir, "new")))
	known, _ := store.Schema()
	if err != nil || got.Schema != known || known <= 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	if value, err := r.open(t, got.Root).Setting(t.Context(), "of"); err != nil || value != "before" {
		t.Errorf("the setting is %q, %v", value, err)
	}
}
