// Package cmd holds the programs, and the test that keeps the imports in order.
package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// allowed is the import table: which packages of this module each package may
// import. A new arrow is a design decision: say why in the commit that adds it.
//
// Engine and agent share layer 0 and tunnel/wg, and nothing else: an agent must not
// carry the engine's database, console or manager to machines that it does not own.
var allowed = map[string][]string{
	// Layer 0: what crosses between engine and agent.
	"tunnel/keys/seal": {},
	"tunnel/keys":      {"tunnel/keys/seal"},
	"tunnel/token":     {"tunnel/keys"},
	"agent/wire":       {"tunnel/keys"},
	"agent/release":    {},
	"agent/checkup":    {},
	"agent/logfile":    {},
	// Layer 1: one resource each.
	"store":     {},
	"acl":       {},
	"static":    {},
	"tunnel/wg": {},

	"agent/driver":     {},
	"agent/inventory":  {"agent/wire"},
	"agent/limits":     {"agent/wire", "tunnel/token"},
	"agent/service":    {},
	"agent/update":     {"agent/release"},
	"static/downloads": {},

	"handlers/access":  {},
	"handlers/metrics": {"store", "tunnel"},
	"handlers/factor":  {},
	"handlers/oidc":    {},
	// Layer 2.
	"store/audit":     {"store"},
	"store/backup":    {"store", "store/audit"},
	"acl/netfilter":   {"acl"},
	"agent/gate":      {"agent/wire", "tunnel/token", "tunnel/wg"},
	"agent/setup":     {"agent/service"},
	"agent/shell":     {"agent/wire"},
	"tunnel/terminal": {"agent/wire", "tunnel/keys"},
	"tunnel":          {"acl", "acl/netfilter", "agent/checkup", "agent/wire", "store", "tunnel/keys", "tunnel/terminal", "tunnel/token", "tunnel/wg"},
	// Layer 3.
	"agent":    {"agent/driver", "agent/gate", "agent/inventory", "agent/limits", "agent/release", "agent/shell", "agent/update", "agent/wire", "tunnel/keys", "tunnel/token", "tunnel/wg"},
	"views":    {"static"},
	"handlers": {"acl", "agent/checkup", "agent/release", "agent/wire", "handlers/access", "handlers/factor", "handlers/oidc", "static", "static/downloads", "store", "store/audit", "tunnel", "tunnel/keys", "tunnel/keys/seal", "tunnel/terminal", "tunnel/token", "tunnel/wg", "views"},
	// Layer 4.
	"cmd":                   {},
	"cmd/hint":              {},
	"cmd/borealis/engine":   {"agent/logfile", "agent/release", "agent/wire", "cmd/hint", "handlers", "handlers/access", "handlers/metrics", "handlers/oidc", "static/downloads", "store", "store/audit", "store/backup", "tunnel", "tunnel/keys", "tunnel/keys/seal", "tunnel/wg"},
	"cmd/borealis/doctor":   {"acl", "acl/netfilter", "agent/checkup", "agent/wire", "cmd/borealis/engine", "cmd/hint", "store", "store/audit", "store/backup", "tunnel", "tunnel/keys", "tunnel/keys/seal", "tunnel/wg"},
	"cmd/borealis/support":  {"agent/checkup", "cmd/borealis/doctor", "cmd/borealis/engine", "cmd/hint", "store"},
	"cmd/borealis/selftest": {"agent", "agent/wire", "cmd/borealis/doctor", "cmd/borealis/engine", "cmd/borealis/support", "cmd/hint", "handlers", "handlers/access", "store", "store/audit", "tunnel/keys", "tunnel/wg"},
	"cmd/borealis":          {"agent", "agent/checkup", "agent/wire", "cmd/borealis/doctor", "cmd/borealis/engine", "cmd/borealis/selftest", "cmd/borealis/support", "cmd/hint", "handlers/access", "handlers/oidc", "store", "store/audit", "store/backup", "tunnel", "tunnel/keys", "tunnel/keys/seal", "tunnel/wg"},
	"cmd/borealis-agent":    {"agent", "agent/checkup", "agent/driver", "agent/limits", "agent/logfile", "agent/release", "agent/service", "agent/setup", "agent/shell", "agent/update", "agent/wire", "tunnel/keys", "tunnel/wg"},
	// Support for tests, imported by nothing that ships.
	"tunnel/wg/nstest": {},
}

// TestValidationNamesRealTests keeps the documents true: each test and fuzz target that
// one names exists somewhere in the tree.
func TestValidationNamesRealTests(t *testing.T) {
	t.Parallel()
	tests := make(map[string]bool)
	err := filepath.WalkDir("..", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, found := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(source, -1) {
			tests[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join("..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range pages {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllSubmatch(page, -1) {
			found++
			if !tests[string(n[1])] {
				t.Errorf("%s names %s, which does not exist", path, n[1])
			}
		}
	}
	if found == 0 {
		t.Fatal("the documents name no test")
	}
}

const module = "borealis/"

type pkg struct {
	ImportPath string
	Dir        string
	Imports    []string
	GoFiles    []string
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, goos := range []string{"linux", "windows"} {
		for _, p := range list(t, goos) {
			name := strings.TrimPrefix(p.ImportPath, module)
			may, known := allowed[name]
			if !known {
				t.Errorf("%s: package %s is not in the import table; add it with a sentence saying what it is", goos, name)
				continue
			}
			for _, i := range p.Imports {
				ours, is := strings.CutPrefix(i, module)
				if is && !slices.Contains(may, ours) {
					t.Errorf("%s: %s must not import %s", goos, name, ours)
				}
				if name == "views" && i == "net/http" || name == "tunnel" && i == "net/http" {
					t.Errorf("%s: %s must not know HTTP", goos, name)
				}
			}
		}
	}
}

// TestPackageComments requires that each package says in one sentence what it is.
func TestPackageComments(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "linux") {
		if len(p.GoFiles) > 0 && !hasComment(t, p) {
			t.Errorf("package %s has no package comment", p.ImportPath)
		}
	}
}

func hasComment(t *testing.T, p pkg) bool {
	t.Helper()
	for _, f := range p.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if file.Doc != nil {
			return true
		}
	}
	return false
}

func list(t *testing.T, goos string) []pkg {
	t.Helper()
	c := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", module+"...")
	c.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// TestNothingOfTheEarlierSystem keeps out what the WireGuard tunnels replaced: the
// socket transport, its routes, and its pools and limits.
func TestNothingOfTheEarlierSystem(t *testing.T) {
	t.Parallel()
	gone := regexp.MustCompile(`(?i)socket\.io|/api/tunnel/request|grace_seconds|port_pool|domain_(lane|limit)|(channel|protocol)_handler_registry`)
	err := filepath.WalkDir("..", func(path string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "vendor" || entry.Name() == "out"):
			return filepath.SkipDir
		case !slices.Contains([]string{".go", ".templ", ".js", ".sql", ".css"}, filepath.Ext(path)) || entry.Name() == "deps_test.go":
			return nil
		}
		source, err := os.ReadFile(path)
		if found := gone.Find(source); found != nil {
			t.Errorf("%s has %q", path, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
