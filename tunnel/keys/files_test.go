package keys_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"borealis/tunnel/keys"
	"borealis/tunnel/keys/seal"
)

// box seals what these tests write.
var box = seal.New([32]byte{1})

// engineFiles are what OpenEngine leaves on disk.
var engineFiles = []string{
	"VPN_Server/wireguard.key", "audit.key", "identity.crt", "identity.key", "token.key", "web.crt", "web.key",
}

// tree returns the files below dir with their content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == ".lock" {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[filepath.ToSlash(name)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// newEngine makes an engine's keys in a fresh directory.
func newEngine(t *testing.T) (dir string, e *keys.Engine) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "Certificates")
	e, err := keys.OpenEngine(dir, []string{"localhost", "127.0.0.1", "::1"}, box)
	if err != nil {
		t.Fatal(err)
	}
	return dir, e
}

func TestEngineKeysAreStable(t *testing.T) {
	t.Parallel()
	dir, first := newEngine(t)
	before := tree(t, dir)
	names := make([]string, 0, len(before))
	for name := range before {
		names = append(names, name)
	}
	if diff := cmp.Diff(engineFiles, names, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	second, err := keys.OpenEngine(dir, []string{"another.example"}, box)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("opening again changed files (-before +after):\n%s", diff)
	}
	if first.Identity.Pin() != second.Identity.Pin() || first.WireGuard != second.WireGuard ||
		!first.Audit.Equal(second.Audit) || !bytes.Equal(first.Web.Certificate[0], second.Web.Certificate[0]) {
		t.Error("the second opening has other keys")
	}
	if diff := cmp.Diff(first.TokenKeys(first.Identity), second.TokenKeys(second.Identity)); diff != "" {
		t.Errorf("token key (-first +second):\n%s", diff)
	}
	if err := first.Web.Leaf.VerifyHostname("::1"); err != nil {
		t.Error(err)
	}
	if err := first.Web.Leaf.VerifyHostname("localhost"); err != nil {
		t.Error(err)
	}
}

func TestDamageIsToldAndLeftAlone(t *testing.T) {
	t.Parallel()
	damages := []struct {
		name string
		does func(t *testing.T, path string)
	}{
		{"empty", func(t *testing.T, path string) { write(t, path, nil) }},
		{"cut short", func(t *testing.T, path string) { b := read(t, path); write(t, path, b[:len(b)/2]) }},
		{"a flipped character", func(t *testing.T, path string) {
			b := read(t, path)
			if i := len(b) / 3; b[i] == 'A' {
				b[i] = 'B'
			} else {
				b[i] = 'A'
			}
			write(t, path, b)
		}},
		{"something after it", func(t *testing.T, path string) { write(t, path, append(read(t, path), "more"...)) }},
		{"far too large", func(t *testing.T, path string) { write(t, path, append(read(t, path), make([]byte, 1<<20)...)) }},
		{"binary noise", func(t *testing.T, path string) { write(t, path, []byte("\x00\xff\x80 noise")) }},
		{"a directory", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}},
	}
	dir, _ := newEngine(t)
	intact := tree(t, dir)
	for _, file := range engineFiles {
		for _, damage := range damages {
			restore(t, dir, intact)
			damage.does(t, filepath.Join(dir, file))
			before := tree(t, dir)
			_, err := keys.OpenEngine(dir, nil, box)
			if err == nil {
				t.Errorf("%s, %s: opens", file, damage.name)
			} else if !strings.Contains(err.Error(), filepath.Base(file)) {
				t.Errorf("%s, %s: error does not name the file: %v", file, damage.name, err)
			}
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Errorf("%s, %s: files changed (-before +after):\n%s", file, damage.name, diff)
			}
		}
	}
	restore(t, dir, intact)
	if _, err := keys.OpenEngine(dir, nil, box); err != nil {
		t.Errorf("restored: %v", err)
	}
}

func TestEveryPartOfACertificateCounts(t *testing.T) {
	t.Parallel()
	dir, _ := newEngine(t)
	for _, name := range []string{"identity.crt", "web.crt"} {
		path := filepath.Join(dir, name)
		intact := read(t, path)
		for i := 40; i < len(intact)-40; i += 11 { // Between the lines that begin and end it.
			b := bytes.Clone(intact)
			switch b[i] {
			case '\n':
				continue
			case 'A':
				b[i] = 'B'
			default:
				b[i] = 'A'
			}
			write(t, path, b)
			if _, err := keys.OpenEngine(dir, nil, box); err == nil {
				t.Errorf("%s opens with character %d changed", name, i)
			}
		}
		write(t, path, intact)
	}
}

func TestHalfAPairIsNotCompleted(t *testing.T) {
	t.Parallel()
	dir, _ := newEngine(t)
	intact := tree(t, dir)
	for _, missing := range []string{"identity.key", "identity.crt", "web.key", "web.crt"} {
		restore(t, dir, intact)
		if err := os.Remove(filepath.Join(dir, missing)); err != nil {
			t.Fatal(err)
		}
		before := tree(t, dir)
		if _, err := keys.OpenEngine(dir, nil, box); err == nil || !strings.Contains(err.Error(), missing+" is missing") {
			t.Errorf("without %s: %v", missing, err)
		}
		if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
			t.Errorf("without %s: files changed (-before +after):\n%s", missing, diff)
		}
	}
}

func TestPartsOfTwoIdentitiesDoNotMix(t *testing.T) {
	t.Parallel()
	dir, _ := newEngine(t)
	other, _ := newEngine(t)
	write(t, filepath.Join(dir, "identity.crt"), read(t, filepath.Join(other, "identity.crt")))
	if _, err := keys.OpenEngine(dir, nil, box); err == nil || !strings.Contains(err.Error(), "do not belong together") {
		t.Errorf("a foreign certificate: %v", err)
	}
	// A web key is a fine key, but not an identity's.
	restore(t, dir, tree(t, other))
	web, err := box.Open("file:web.key", read(t, filepath.Join(dir, "web.key")))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "identity.key"), box.Seal("file:identity.key", web))
	write(t, filepath.Join(dir, "identity.crt"), read(t, filepath.Join(dir, "web.crt")))
	if _, err := keys.OpenEngine(dir, nil, box); err == nil || !strings.Contains(err.Error(), "not an Ed25519 key") {
		t.Errorf("an ECDSA identity: %v", err)
	}
}

func TestDamagedAgentRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := keys.OpenAgentIdentity(dir, "device"); err != nil {
		t.Fatal(err)
	}
	if err := keys.SaveAgent(dir, identity(t).Pin(), "engine:8443"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "engine.json")
	intact := string(read(t, path))
	for name, content := range map[string]string{
		"empty":          "",
		"not JSON":       "engine:8443",
		"unknown member": strings.Replace(intact, `"engine"`, `"unknown":1,"engine"`, 1),
		"twice":          intact + intact,
		"no pin":         `{"address":"engine:8443"}`,
		"short pin":      strings.Replace(intact, `"engine": "`, `"engine": "a`, 1),
		"no address":     strings.Replace(intact, "engine:8443", "", 1),
	} {
		write(t, path, []byte(content))
		if _, err := keys.OpenAgent(dir); err == nil || !strings.Contains(err.Error(), "enrol this device again") {
			t.Errorf("%s: %v, want a hint to enrol again", name, err)
		}
	}
	write(t, path, []byte(intact))
	for _, gone := range []string{"identity.key", "identity.crt"} {
		if err := os.Remove(filepath.Join(dir, gone)); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.OpenAgent(dir); err == nil {
			t.Errorf("without %s: opens", gone)
		}
	}
	left := tree(t, dir)
	delete(left, "seal.dpapi") // Windows keeps the identity's key there.
	if len(left) != 1 {
		t.Errorf("OpenAgent made an identity: %v", left)
	}
}

// openerEnv asks the test binary to open the keys in a directory and print the pin.
const openerEnv = "BOREALIS_TEST_OPEN_ENGINE"

func TestMain(m *testing.M) {
	dir := os.Getenv(openerEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	e, err := keys.OpenEngine(dir, nil, box)
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	os.Stdout.WriteString(e.Identity.Pin().String() + " " + e.WireGuard.PublicKey().String() + " " + e.TokenKeys(e.Identity)[0].ID)
	os.Exit(0)
}

func TestConcurrentOpeningMakesOneSetOfKeys(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "Engine", "Certificates")
	const goroutines, processes = 8, 4
	said := make([]string, goroutines+processes)
	var all sync.WaitGroup
	for i := range goroutines {
		all.Go(func() {
			e, err := keys.OpenEngine(dir, nil, box)
			if err != nil {
				t.Error(err)
				return
			}
			said[i] = e.Identity.Pin().String() + " " + e.WireGuard.PublicKey().String() + " " + e.TokenKeys(e.Identity)[0].ID
		})
	}
	for i := range processes {
		all.Go(func() {
			c := exec.CommandContext(t.Context(), os.Args[0])
			c.Env = append(os.Environ(), openerEnv+"="+dir)
			var errs bytes.Buffer
			c.Stderr = &errs
			out, err := c.Output()
			if err != nil {
				t.Errorf("%v: %s", err, errs.String())
			}
			said[goroutines+i] = string(out)
		})
	}
	all.Wait()
	for i, s := range said {
		if s == "" || s != said[0] {
			t.Errorf("opener %d has %q, opener 0 has %q", i, s, said[0])
		}
	}
	if got := len(tree(t, dir)); got != len(engineFiles) {
		t.Errorf("%d files, want %d: %v", got, len(engineFiles), tree(t, dir))
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// restore puts back the files of a tree.
func restore(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		write(t, path, []byte(content))
	}
}
