package static

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// Each vendored file is what VENDOR.txt says it is, none is missing there, and
// each package brings its licence.
func TestVendoredFiles(t *testing.T) {
	t.Parallel()
	manifest, err := os.ReadFile("vendor/VENDOR.txt")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	packages := 0
	lines := bufio.NewScanner(bytes.NewReader(manifest))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) == 0 || strings.HasPrefix(fields[0], "#"):
		case fields[0] == "package" && len(fields) == 5:
			packages++
			checkPackage(t, fields[1], fields[4])
		case fields[0] == "file" && len(fields) == 4 && packages > 0:
			listed[fields[1]] = true
			checkFile(t, fields[1], fields[3])
		default:
			t.Errorf("VENDOR.txt: a line that says nothing: %q", lines.Text())
		}
	}
	err = fs.WalkDir(os.DirFS("vendor"), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == "VENDOR.txt" || strings.HasPrefix(name, "LICENSES/") {
			return err
		}
		if !listed[name] {
			t.Errorf("vendor/%s is not in VENDOR.txt", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if packages < 7 || len(listed) < 30 {
		t.Errorf("VENDOR.txt lists %d packages and %d files: it was not read as a whole", packages, len(listed))
	}
}

func checkPackage(t *testing.T, name, checksum string) {
	t.Helper()
	if !strings.HasPrefix(checksum, "sha512-") {
		t.Errorf("package %s: checksum %q is no SHA-512", name, checksum)
	}
	licence := "vendor/LICENSES/" + strings.ReplaceAll(strings.TrimPrefix(name, "@"), "/", "-") + ".txt"
	if text, err := os.ReadFile(licence); err != nil || len(text) < 200 {
		t.Errorf("package %s: no licence text in %s", name, licence)
	}
}

func checkFile(t *testing.T, name, want string) {
	t.Helper()
	stored, err := embedded.ReadFile("vendor/" + name)
	if err != nil {
		t.Errorf("file %s: %v", name, err)
		return
	}
	sum := sha256.Sum256(stored)
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("file %s: SHA-256 is %s, VENDOR.txt says %s", name, got, want)
	}
	if bytes.Contains(stored, []byte("sourceMappingURL=")) {
		t.Errorf("file %s names a source map that is not served", name)
	}
}
