package downloads

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// folder is what a build leaves, and what lies beside it.
func folder() fstest.MapFS {
	return fstest.MapFS{
		"README.md":                        {Data: []byte("read me")},
		"manifest":                         {Data: []byte("v4.public.abc\n")},
		"borealis-agent-linux-amd64":       {Data: []byte("linux")},
		"borealis-agent-windows-arm64.exe": {Data: []byte("arm")},
		"borealis-agent-windows-amd64.exe": {Data: []byte("intel")},
		"borealis-agent-windows-386":       {Data: []byte("no .exe")},
		"borealis-agent-linux-arm64.exe":   {Data: []byte("an .exe")},
		"borealis-agent-linux-amd64.old":   {Data: []byte("old")},
		"borealis":                         {Data: []byte("an engine")},
		"borealis-agent-linux-386/x":       {Data: []byte("a folder")},
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	s, err := New(folder())
	if err != nil {
		t.Fatal(err)
	}
	want := []File{
		{"borealis-agent-windows-amd64.exe", "windows", "amd64", 5, sum("intel")},
		{"borealis-agent-windows-arm64.exe", "windows", "arm64", 3, sum("arm")},
		{"borealis-agent-linux-amd64", "linux", "amd64", 5, sum("linux")},
	}
	if diff := cmp.Diff(want, s.All()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if s.Manifest() != "v4.public.abc" {
		t.Errorf("the manifest is %q", s.Manifest())
	}
	s.All()[0].Name = "changed"
	if s.All()[0].Name != want[0].Name {
		t.Error("whoever gets the list can change it")
	}
	for _, f := range want {
		if got, ok := s.BySHA256(f.SHA256); !ok || got != f {
			t.Errorf("by the hash of %s: %+v", f.Name, got)
		}
		file, got, err := s.Open(f.Name)
		if err != nil || got != f {
			t.Fatalf("%s: %+v %v", f.Name, got, err)
		}
		body, err := io.ReadAll(file)
		if err != nil || sum(string(body)) != f.SHA256 {
			t.Errorf("%s: %q %v", f.Name, body, err)
		}
		if at, err := file.Seek(1, io.SeekStart); at != 1 || err != nil {
			t.Errorf("%s cannot be read from a place: %v", f.Name, err)
		}
		file.Close()
	}
	for _, name := range []string{"", "manifest", "README.md", "borealis", "borealis-agent-windows-386", "../downloads.go", "./borealis-agent-linux-amd64", "borealis-agent-linux-amd64.old"} {
		if _, _, err := s.Open(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q is handed out: %v", name, err)
		}
	}
	for _, hash := range []string{"", sum("read me"), sum("v4.public.abc\n"), strings.ToUpper(want[0].SHA256)} {
		if f, ok := s.BySHA256(hash); ok {
			t.Errorf("%q is %+v", hash, f)
		}
	}
}

// TestSetLimits: what is no agent, by its size, stops the program and not an operator.
func TestSetLimits(t *testing.T) {
	t.Parallel()
	for name, body := range map[string][]byte{
		"borealis-agent-linux-amd64":       {},
		"borealis-agent-windows-amd64.exe": make([]byte, maxAgent+1),
		"manifest":                         make([]byte, maxManifest+1),
	} {
		if _, err := New(fstest.MapFS{name: {Data: body}}); err == nil || !strings.Contains(err.Error(), "bytes") {
			t.Errorf("%s of %d bytes: %v", name, len(body), err)
		}
	}
	s, err := New(fstest.MapFS{})
	if err != nil || len(s.All()) != 0 || s.Manifest() != "" {
		t.Errorf("an empty folder: %v %v", s, err)
	}
}

// TestEmbedded: this program's own set is in order, whatever was built into it.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	s := Embedded()
	if s != Embedded() {
		t.Error("there are two")
	}
	for _, f := range s.All() {
		if len(f.SHA256) != 64 || f.Size < 1 || !slices.Contains([]string{"windows", "linux"}, f.OS) {
			t.Errorf("%+v", f)
		}
	}
}
