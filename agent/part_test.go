package agent

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"borealis/agent/inventory"
	"borealis/tunnel/token"
)

func TestEndpoint(t *testing.T) {
	t.Parallel()
	reached := netip.MustParseAddr("192.0.2.9")
	tests := []struct {
		endpoint, dialled string
		want              string // "" for an error.
	}{
		{"192.0.2.1:30000", "192.0.2.9:8443", "192.0.2.1:30000"},
		{"[2001:db8::1]:30000", "192.0.2.9:8443", "[2001:db8::1]:30000"},
		{"engine.invalid:30000", "engine.invalid:8443", "192.0.2.9:30000"},
		{"localhost:30000", "engine.invalid:8443", "127.0.0.1:30000"},
		{"other.invalid:30000", "engine.invalid:8443", ""},
		{"engine.invalid:x", "engine.invalid:8443", ""},
		{"engine.invalid", "engine.invalid:8443", ""},
	}
	for _, tt := range tests {
		s := &session{engine: reached, claims: token.Claims{Endpoint: tt.endpoint}}
		got, err := s.endpoint(t.Context(), tt.dialled)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%s: %v, want an error", tt.endpoint, got)
			}
			continue
		}
		if err != nil || got.String() != tt.want {
			t.Errorf("%s dialled as %s: %v, %v; want %s", tt.endpoint, tt.dialled, got, err, tt.want)
		}
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"", ""},
		{"plain text, ünïcode 東京", "plain text, ünïcode 東京"},
		{"a\x1b[31mb\r\nc\x00\x7f\u009b\u202e\u200b", "a[31mbc"},
		{"a\xffb", "ab"},
		{strings.Repeat("x", 300), strings.Repeat("x", 256)},
		{strings.Repeat("x", 255) + "é", strings.Repeat("x", 255)},
		{strings.Repeat("東", 100), strings.Repeat("東", 85)},
	}
	for _, tt := range tests {
		got := clean(tt.in, maxName)
		if got != tt.want || !utf8.ValidString(got) {
			t.Errorf("clean(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestFacts(t *testing.T) {
	t.Parallel()
	f := gather("", t.TempDir())
	if f.os == "" || f.arch == "" || f.osVersion == "" {
		t.Errorf("facts are %+v", f)
	}
	if got := gather("another", "").hostname; got != "another" {
		t.Errorf("hostname is %q", got)
	}
	if id := inventory.MachineID(); id != "" && strings.Contains(f.machine, id) {
		t.Error("the machine's id is told")
	}
}

func TestMachineIsAnInstallationOfTheAgent(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("data")
	if err != nil {
		t.Fatal(err)
	}
	one := machineHash("one", root)
	if !strings.HasPrefix(one, "v2.") || len(one) != 67 {
		t.Errorf("the hash is %q", one)
	}
	for name, c := range map[string]struct {
		id, data string
		same     bool
	}{
		"again":            {"one", root, true},
		"relative":         {"one", "data", true},
		"not clean":        {"one", root + "/./x/..", true},
		"trailing slash":   {"one", root + "/", true},
		"another root":     {"one", root + "2", false},
		"another machine":  {"two", root, false},
		"shifted border":   {"one" + root, "", false},
		"root in the id":   {"one\x00" + root, "/", false},
		"no id of machine": {"", root, false},
	} {
		if got := machineHash(c.id, c.data); (got == one) != c.same || (got == "") != (c.id == "") {
			t.Errorf("%s: %q, the first was %q", name, got, one)
		}
	}
}
