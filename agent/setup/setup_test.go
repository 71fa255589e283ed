package setup

import (
	"os"
	"path/filepath"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
}

// tree is what is below a folder: the content of each file, "/" for a folder.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		all[filepath.ToSlash(name)] = "/"
		if !e.IsDir() {
			all[filepath.ToSlash(name)] = read(t, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// subject is an installer of a program with some content, in an empty place.
func subject(t *testing.T, content string) *installer {
	t.Helper()
	dir := t.TempDir()
	i := &installer{stamp: "now"}
	i.Place = Place{Program: filepath.Join(dir, "Programs", "agent.exe"), Data: filepath.Join(dir, "Data")}
	i.Source = filepath.Join(dir, "download.exe")
	i.journal = &journal{path: i.log()}
	write(t, i.Source, content)
	return i
}

// compare decides whether the program is another one, as the preflight does.
func (i *installer) compare(t *testing.T) {
	t.Helper()
	equal, err := same(i.Source, i.Program)
	if err != nil {
		t.Fatal(err)
	}
	i.differs = !equal
}
