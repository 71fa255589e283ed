package backup

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzArchive: whatever is encrypted as a backup, nothing is written outside the folder, and
// what is accepted has the files of its manifest and no others.
func FuzzArchive(f *testing.F) {
	root := f.TempDir()
	manifest := Manifest{Format: format, Version: version}
	for _, name := range []string{certificatesPath + "/identity.crt", databasePath, cursorPath} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(name), 0o600)); err != nil {
			f.Fatal(err)
		}
		manifest.Files = append(manifest.Files, File{name, int64(len(name)), digest(name)})
	}
	var archive bytes.Buffer
	if err := pack(f.Context(), &archive, root, manifest); err != nil {
		f.Fatal(err)
	}
	if _, err := unpackArchive(bytes.NewReader(archive.Bytes()), filepath.Join(root, "good"), 4); err != nil {
		f.Fatal(err)
	}
	f.Add(archive.Bytes())
	f.Add(archive.Bytes()[:archive.Len()/2])
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		m, err := unpackArchive(bytes.NewReader(b), filepath.Join(dir, "tree"), 4)
		entries, readErr := os.ReadDir(dir)
		if readErr != nil || len(entries) > 1 {
			t.Fatalf("in the folder around it: %v, %v", entries, readErr)
		}
		if err != nil {
			return
		}
		files := 0
		for _, content := range tree(t, filepath.Join(dir, "tree")) {
			if content != "folder" {
				files++
			}
		}
		if files != len(m.Files) {
			t.Errorf("%d files of %d", files, len(m.Files))
		}
	})
}
