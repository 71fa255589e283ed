package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// etc reads a file that ships beside the programs.
func etc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "etc", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestEveryAlertIsTested: promtool's tests have a case in which each alert fires, and one in which
// it does not.
func TestEveryAlertIsTested(t *testing.T) {
	t.Parallel()
	cases := etc(t, "prometheus/borealis.rules.test.yml")
	alerts := regexp.MustCompile(`(?m)^ *- alert: (\w+)$`).FindAllStringSubmatch(etc(t, "prometheus/borealis.rules.yml"), -1)
	if len(alerts) < 15 {
		t.Errorf("there are %d alerts", len(alerts))
	}
	for _, a := range alerts {
		for _, what := range []string{"fires", "stays quiet"} {
			if !strings.Contains(cases, fmt.Sprintf("- name: %s %s\n", a[1], what)) {
				t.Errorf("no test in which %s %s", a[1], what)
			}
		}
	}
}

// A dashboard is Grafana's, as far as it is checked.
type dashboard struct {
	SchemaVersion int
	Panels        []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
	Templating struct{ List []struct{ Name, Type string } }
}

// TestDashboardIsSound: panels have names of their own and do not overlap, and Prometheus understands
// what they ask.
func TestDashboardIsSound(t *testing.T) {
	t.Parallel()
	var d dashboard
	if err := json.Unmarshal([]byte(etc(t, "grafana/borealis.json")), &d); err != nil {
		t.Fatal(err)
	}
	if d.SchemaVersion < 39 || len(d.Templating.List) == 0 || d.Templating.List[0].Type != "datasource" {
		t.Errorf("schema %d, variables %v", d.SchemaVersion, d.Templating.List)
	}
	ids, titles, taken := make(map[int]bool), make(map[string]bool), make(map[[2]int]string)
	var rules strings.Builder
	rules.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	variables := strings.NewReplacer("$__rate_interval", "1m", "$job", ".*", "$instance", ".*")
	for _, p := range d.Panels {
		if ids[p.ID] || titles[p.Title] || p.Title == "" {
			t.Errorf("panel %d, %q, is there twice or has no title", p.ID, p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%q is over %q, or beside the page", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%q asks nothing", p.Title)
		}
		for i, target := range p.Targets {
			fmt.Fprintf(&rules, "      - record: panel:%d:%d\n        expr: %q\n", p.ID, i, variables.Replace(target.Expr))
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed: Debian has it in its package prometheus")
	}
	path := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(path, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s\n%s", err, out, rules.String())
	}
}
