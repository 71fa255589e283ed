package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"borealis/cmd/borealis/engine"
	"borealis/tunnel/keys/seal"
)

// TestBackupCommand: what it says, what it leaves, what is on record.
func TestBackupCommand(t *testing.T) {
	data, dir := newRoot(t), t.TempDir()
	identity := filepath.Join(dir, "identity")
	recipient := strings.TrimSpace(must(t, "backup", "new-key", identity))
	if info, err := os.Stat(identity); err != nil || info.Mode().Perm() != 0o600 || !strings.HasPrefix(recipient, "age1") {
		t.Fatalf("%v, %v, %q", info, err, recipient)
	}
	secret, err := os.ReadFile(identity)
	if err != nil || !strings.Contains(string(secret), recipient) || !strings.Contains(string(secret), "AGE-SECRET-KEY-1") {
		t.Fatalf("%q, %v", secret, err)
	}
	list := filepath.Join(dir, "recipients")
	write(t, list, []byte("# the safe\n"+recipient+"\n"), 0o600)
	file := filepath.Join(dir, "one.age")
	if out := must(t, "backup", file, "--recipients-file", list, "--data", data); out != file+"\n" {
		t.Errorf("it prints %q", out)
	}
	lines := strings.Split(strings.TrimSpace(string(secret)), "\n")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"backup"}, exitUsage, "FILE is missing"},
		{[]string{"backup", "x"}, exitUsage, "backup new-key"},
		{[]string{"backup", "x", "--recipient", "bob"}, exitUsage, "begins with age1"},
		{[]string{"backup", "x", "--recipient", lines[len(lines)-1]}, exitUsage, "begins with age1"},
		{[]string{"backup", "x", "--recipients-file", identity}, exitUsage, "--recipients-file"},
		{[]string{"backup", "x", "--recipient", recipient, "--keep", "0"}, exitUsage, "--keep"},
		{[]string{"backup", filepath.Join(dir, "x"), "--recipient", recipient, "--keep", "3", "--data", data}, exitUsage, "goes with a folder"},
		{[]string{"backup", file, "--recipient", recipient, "--data", data}, exitFailed, "file already exists"},
		{[]string{"backup", "x", "--recipient", recipient, "--data", "/nowhere"}, exitFailed, "borealis init --data /nowhere"},
		{[]string{"backup", "new-key", identity}, exitFailed, "file exists"},
		{[]string{"restore", file}, exitUsage, "--identity is missing"},
		{[]string{"restore", file, "--identity", list, "--data", filepath.Join(dir, "new")}, exitFailed, "not the recipient"},
		{[]string{"restore", file, "--identity", identity, "--data", data}, exitFailed, "--replace moves it aside"},
		{[]string{"restore", file, "--identity", identity, "--data", filepath.Join(dir, "new"), "--engine", "other"}, exitFailed, "not of other"},
	} {
		code, _, text := call(t, c.args...)
		if code != c.code || !strings.Contains(text, c.says) {
			t.Errorf("%q: exit %d, %q; want exit %d and %q", c.args, code, text, c.code, c.says)
		}
		if strings.Contains(text, lines[len(lines)-1]) {
			t.Errorf("%q tells the secret: %q", c.args, text)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		t.Error("a refused restore made a data root")
	}
	made := recorded(t, data, kindBackupMade)
	var results []string
	for _, r := range made {
		results = append(results, r.Result)
	}
	if len(made) < 2 || made[0].Target != "one.age" || made[0].Actor != "console" || !strings.Contains(made[0].Detail, "SHA-256 ") || !slices.Contains(results, "failed") {
		t.Errorf("on record: %+v", made)
	}
}

// TestBackupsInAFolder: they are named by engine and time, and --keep removes older ones.
func TestBackupsInAFolder(t *testing.T) {
	data, dir := newRoot(t), t.TempDir()
	recipient := strings.TrimSpace(must(t, "backup", "new-key", filepath.Join(t.TempDir(), "identity")))
	var keys struct{ Pin string }
	if err := json.Unmarshal([]byte(must(t, "keys", "show", "--json", "--data", data)), &keys); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"borealis-" + keys.Pin[:8] + "-20200101T000000Z.age", "borealis-" + keys.Pin[:8] + "-20210101T000000Z.age", "mine.txt"} {
		write(t, filepath.Join(dir, name), nil, 0o600)
	}
	var done backupDone
	if err := json.Unmarshal([]byte(must(t, "backup", dir, "--recipient", recipient, "--keep", "2", "--data", data, "--json")), &done); err != nil {
		t.Fatal(err)
	}
	if len(done.Removed) != 1 || !strings.HasSuffix(done.Removed[0], "-20200101T000000Z.age") || filepath.Dir(done.File) != dir || !strings.HasPrefix(filepath.Base(done.File), "borealis-"+keys.Pin[:8]+"-2") {
		t.Errorf("%+v", done)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestRestoreWithTheWrongSealKey is refused before anything is put in place.
func TestRestoreWithTheWrongSealKey(t *testing.T) {
	data, dir := newRoot(t), t.TempDir()
	identity, file := filepath.Join(dir, "identity"), filepath.Join(dir, "one.age")
	recipient := strings.TrimSpace(must(t, "backup", "new-key", identity))
	must(t, "backup", file, "--recipient", recipient, "--data", data)
	again := filepath.Join(dir, "again")
	if _, err := seal.Create(again + ".key"); err != nil {
		t.Fatal(err)
	}
	if code, _, text := call(t, "restore", file, "--identity", identity, "--data", again); code != exitFailed || !strings.Contains(text, "the seal key that it was sealed with") {
		t.Errorf("exit %d, %q", code, text)
	}
	if _, err := os.Stat(again); err == nil {
		t.Error("a data root was made")
	}
	var back restoreDone
	if err := json.Unmarshal([]byte(must(t, "restore", file, "--identity", identity, "--data", again, "--seal-key", data+".key", "--json")), &back); err != nil || back.SealKey != "" {
		t.Errorf("%+v, %v", back, err)
	}
	// Another engine's data is not replaced by it unless that is said.
	other := newRoot(t)
	if code, _, text := call(t, "restore", file, "--identity", identity, "--data", other, "--replace"); code != exitFailed || !strings.Contains(text, "--engine "+back.Engine) {
		t.Errorf("over another engine: exit %d, %q", code, text)
	}
	must(t, "restore", file, "--identity", identity, "--data", other, "--replace", "--engine", back.Engine, "--seal-key", data+".key")
}

// everyCommand are commands that open the database.
func everyCommand(data, recipient string) [][]string {
	return [][]string{
		{"serve", "--listen", "127.0.0.1:0", "--udp-port", "0", "--link", "netstack", "--data", data},
		{"demo", "--listen", "127.0.0.1:0", "--udp-port", "0", "--data", data},
		{"operator", "list", "--data", data},
		{"token", "list", "--data", data},
		{"code", "list", "--data", data},
		{"device", "list", "--data", data},
		{"audit", "verify", "--data", data},
		{"audit", "export", "--data", data},
		{"keys", "rotate", "--data", data},
		{"backup", data + ".age", "--recipient", recipient, "--data", data},
	}
}

// TestDamagedDatabase: nothing starts on it, the way back is told with the paths to use, and
// nothing is deleted.
func TestDamagedDatabase(t *testing.T) {
	data := newRoot(t)
	recipient := strings.TrimSpace(must(t, "backup", "new-key", filepath.Join(t.TempDir(), "identity")))
	path := engine.Root(data).Database()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]int{"in the header": 0, "in the schema": 100, "in the middle": len(good) / 8192 * 4096} {
		bad := slices.Clone(good)
		for i := range 200 {
			bad[at+i] ^= 0xa5
		}
		write(t, path, bad, 0o600)
		for _, args := range everyCommand(data, recipient) {
			code, _, text := call(t, args...)
			if code != exitFailed || !strings.Contains(text, "borealis restore BACKUP --identity IDENTITY --data "+data+" --replace") || !strings.Contains(text, path) {
				t.Errorf("%s, %q: exit %d, %q", name, args[:2], code, text)
			}
		}
		if now, err := os.ReadFile(path); err != nil || !slices.Equal(now, bad) {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
	write(t, path, good, 0o600)
	must(t, "operator", "list", "--data", data)
}

// TestDowngrade is refused, and the way on and the way back are told.
func TestDowngrade(t *testing.T) {
	data := newRoot(t)
	recipient := strings.TrimSpace(must(t, "backup", "new-key", filepath.Join(t.TempDir(), "identity")))
	path := engine.Root(data).Database()
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	if err := sqlitex.ExecuteTransient(conn, "PRAGMA user_version = 99", nil); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, path+".before-004", nil, 0o600)
	for _, args := range everyCommand(data, recipient) {
		code, _, text := call(t, args...)
		if code != exitFailed || !strings.Contains(text, "install the newer Borealis again") || !strings.Contains(text, "borealis restore BACKUP") || !strings.Contains(text, path+".before-004") {
			t.Errorf("%q: exit %d, %q", args[:2], code, text)
		}
	}
}

// TestServeWithoutItsSealKey: an engine says what is missing, and makes nothing new.
func TestServeWithoutItsSealKey(t *testing.T) {
	data := newRoot(t)
	key := data + ".key"
	content, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, engine.Root(data).Certificates())
	serve := []string{"serve", "--listen", "127.0.0.1:0", "--udp-port", "0", "--link", "netstack", "--data", data}
	for _, c := range []struct {
		name  string
		spoil func()
		says  []string
	}{
		{"lost", func() { os.Remove(key) }, []string{key, "is missing", "restore it from where you keep it"}},
		{"another", func() { os.Remove(key); _, _ = seal.Create(key) }, []string{"identity.key", "the seal key that it was sealed with", "no new key is made"}},
		{"damaged", func() { write(t, key, content[:10], 0o600) }, []string{key}},
		{"open to others", func() { write(t, key, content, 0o644) }, []string{key, "chmod"}},
	} {
		c.spoil()
		code, _, text := call(t, serve...)
		for _, want := range c.says {
			if code != exitFailed || !strings.Contains(text, want) {
				t.Errorf("%s: exit %d, %q does not say %q", c.name, code, text, want)
			}
		}
		if _, err := os.Stat(key); c.name == "lost" && err == nil {
			t.Error("a new key was made")
		}
		os.Remove(key)
	}
	if after := snapshot(t, engine.Root(data).Certificates()); after != before {
		t.Errorf("keys were changed:\n%s\n%s", before, after)
	}
	write(t, key, content, 0o600)
	_, stop := serving(t, data)
	if code, text := stop(); code != exitDone {
		t.Errorf("with its key again: exit %d, %q", code, text)
	}
}

// snapshot is all that is in a folder, as one text.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all.WriteString(path + "\x00" + string(b) + "\x00")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
