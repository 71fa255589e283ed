package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"borealis/cmd/borealis/engine"
	"borealis/tunnel/keys/seal"
)

// TestSealKey: where the key is, and what happens when it is lost, wrong, open to
// others, or where it does not belong.
func TestSealKey(t *testing.T) {
	data := newRoot(t)
	key := data + ".key"
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the key beside the data root: %v, %v", info, err)
	}
	content, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	root := engine.Root(data)
	if _, err := (engine.Seal{}).Open(root); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		do   func()
		says string
	}{
		{"lost", func() { os.Remove(key) }, "missing"},
		{"open to others", func() { write(t, key, content, 0o644) }, "chmod"},
		{"damaged", func() { write(t, key, content[:10], 0o600) }, key},
	} {
		c.do()
		code, _, text := call(t, "keys", "rotate", "--data", data)
		if code != exitFailed || !strings.Contains(text, c.says) {
			t.Errorf("%s: exit %d, %q; want %q", c.name, code, text, c.says)
		}
		if c.name == "lost" {
			if _, err := os.Stat(key); err == nil {
				t.Error("a new key was made in place of the lost one")
			}
		}
		os.Remove(key)
	}
	other := filepath.Join(t.TempDir(), "other.key")
	if _, err := seal.Create(other); err != nil {
		t.Fatal(err)
	}
	if code, _, text := call(t, "keys", "rotate", "--data", data, "--seal-key", other); code != exitFailed || !strings.Contains(text, "key") {
		t.Errorf("another key: exit %d, %q", code, text)
	}
	if code, _, text := call(t, "keys", "rotate", "--data", data, "--seal-key", filepath.Join(data, "in.key")); code != exitUsage || !strings.Contains(text, "inside the data root") {
		t.Errorf("inside the data root: exit %d, %q", code, text)
	}
	write(t, key, content, 0o600)
	must(t, "keys", "rotate", "--data", data)
	if code, _, text := call(t, "keys", "rotate", "--data", data); code != exitFailed || !strings.Contains(text, "wait for that day") {
		t.Errorf("again at once: exit %d, %q", code, text)
	}
	// What did not happen is on record as begun only.
	trail := must(t, "audit", "export", "--data", data)
	if begun, done := strings.Count(trail, `"identity_rotation_begun"`), strings.Count(trail, `"identity_rotated"`); begun != 3 || done != 1 {
		t.Errorf("%d rotations are on record as begun and %d as done, want 3 (with another key, well, and again) and 1", begun, done)
	}
}

// TestSealPassphrase: the same passphrase opens, another does not.
func TestSealPassphrase(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good"), filepath.Join(dir, "bad")
	write(t, good, []byte("correct horse battery staple\n"), 0o600)
	write(t, bad, []byte("incorrect horse battery staple\n"), 0o600)
	data := filepath.Join(dir, "root")
	must(t, "init", "--data", data, "--seal-passphrase-file", good)
	if _, err := os.Stat(data + ".key"); err == nil {
		t.Error("a key was made beside the passphrase")
	}
	if code, _, text := call(t, "keys", "rotate", "--data", data, "--seal-passphrase-file", bad); code != exitFailed {
		t.Errorf("another passphrase: exit %d, %q", code, text)
	}
	must(t, "keys", "rotate", "--data", data, "--seal-passphrase-file", good)
}

// TestSealCredential: systemd's credential is used before the file beside the data root.
func TestSealCredential(t *testing.T) {
	data, dir := newRoot(t), t.TempDir()
	content, err := os.ReadFile(data + ".key")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, engine.SealCredential), content, 0o440) // an access list shows as rights of the group
	os.Remove(data + ".key")
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	must(t, "keys", "rotate", "--data", data)
	os.Remove(filepath.Join(dir, engine.SealCredential))
	write(t, filepath.Join(dir, engine.SealCredential), []byte("nonsense"), 0o440)
	if code, _, text := call(t, "keys", "rotate", "--data", data); code != exitFailed || !strings.Contains(text, engine.SealCredential) {
		t.Errorf("a damaged credential: exit %d, %q", code, text)
	}
}

// TestNothingIsInTheClear: a copy of the data root opens nothing: no file of it holds a
// private key in any usual form.
func TestNothingIsInTheClear(t *testing.T) {
	data := newRoot(t)
	err := filepath.WalkDir(data, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, ".key") && !seal.IsSealed(b) {
			t.Errorf("%s is not sealed", path)
		}
		if bytes.Contains(b, []byte("PRIVATE KEY")) {
			t.Errorf("%s holds a private key", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, content []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
