package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// must runs a command that has to work and returns what it printed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, out, text := call(t, args...)
	if code != exitDone {
		t.Fatalf("%q: exit %d: %s", args, code, text)
	}
	return out
}

// newRoot makes a data root.
func newRoot(t *testing.T) (data string) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "root")
	must(t, "init", "--data", data)
	return data
}

func TestOperatorCommands(t *testing.T) {
	data := newRoot(t)
	must(t, "operator", "add", "nora", "--role", "operator", "--site", "Oslo", "--site", "Bergen", "--data", data)
	must(t, "operator", "role", "nora", "viewer", "--site", "Oslo", "--data", data)
	must(t, "operator", "lock", "nora", "--reason", "left", "--for", "8h", "--data", data)
	var list struct{ Operators []operatorLine }
	if err := json.Unmarshal([]byte(must(t, "operator", "list", "--json", "--data", data)), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Operators) != 2 || list.Operators[1].Role != "viewer" || strings.Join(list.Operators[1].Sites, ",") != "Oslo" || list.Operators[1].Locked != "left" {
		t.Errorf("%+v", list)
	}
	must(t, "operator", "unlock", "nora", "--data", data)
	if out := must(t, "operator", "reset", "nora", "--data", data); !strings.Contains(out, "password") {
		t.Errorf("reset said %q", out)
	}
	must(t, "operator", "remove", "nora", "--data", data)
	for _, c := range []struct{ args, says string }{
		{"operator lock admin --reason x", "another administrator"},
		{"operator role admin viewer", "another administrator"},
		{"operator remove admin", "another administrator"},
		{"operator lock nora --reason x", `no operator named "nora"`},
		{"operator unlock admin", "is not locked"},
		{"device approve none", "borealis device list"},
		{"token remove none", "borealis token list"},
		{"code remove none", "borealis code list"},
	} {
		code, _, text := call(t, append(strings.Fields(c.args), "--data", data)...)
		if code != exitFailed || !strings.Contains(text, c.says) {
			t.Errorf("%s: exit %d, %q; want %q", c.args, code, text, c.says)
		}
	}
	var export struct{ lines []string }
	for line := range strings.Lines(must(t, "audit", "export", "--data", data)) {
		export.lines = append(export.lines, line)
	}
	text := strings.Join(export.lines, "")
	for _, kind := range []string{"operator_added", "operator_changed", "locked", "unlocked", "password_changed", "factors_reset", "operator_removed", "audit_exported"} {
		if !strings.Contains(text, `"`+kind+`"`) {
			t.Errorf("no %s on record", kind)
		}
	}
}

func TestTokenAndCodeCommands(t *testing.T) {
	data := newRoot(t)
	must(t, "token", "new", "--operator", "admin", "--label", "ci", "--data", data)
	var tokens struct{ Tokens []tokenLine }
	if err := json.Unmarshal([]byte(must(t, "token", "list", "--json", "--data", data)), &tokens); err != nil || len(tokens.Tokens) != 1 || tokens.Tokens[0].Label != "ci" {
		t.Fatalf("%+v, %v", tokens, err)
	}
	must(t, "token", "remove", tokens.Tokens[0].ID, "--data", data)
	if out := must(t, "token", "list", "--data", data); strings.Contains(out, "ci") {
		t.Errorf("the token is still listed: %s", out)
	}
	must(t, "code", "new", "--engine", "engine.example:8443", "--site", "Oslo", "--data", data)
	var codes struct{ Codes []codeLine }
	if err := json.Unmarshal([]byte(must(t, "code", "list", "--json", "--data", data)), &codes); err != nil || len(codes.Codes) != 1 || codes.Codes[0].Site != "Oslo" {
		t.Fatalf("%+v, %v", codes, err)
	}
	must(t, "code", "remove", codes.Codes[0].ID, "--data", data)
	if code, _, text := call(t, "site", "lock", "Oslo", "--reason", "moved", "--data", data); code != exitFailed || !strings.Contains(text, "no device of the site") {
		t.Errorf("a site without devices: exit %d, %q", code, text)
	}
}
