package limits_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/agent/limits"
	"borealis/agent/wire"
	"borealis/tunnel/token"
)

// write makes a policy of a file's content.
func write(t *testing.T, content string) *limits.Policy {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return limits.Load(path)
}

func tcp(from, to uint16) token.Port { return token.Port{Protocol: "tcp", From: from, To: to} }
func udp(from, to uint16) token.Port { return token.Port{Protocol: "udp", From: from, To: to} }

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC) // A Wednesday.

// TestNothingIsForbiddenWithoutAFile is for a file that is absent, or empty of rules.
func TestNothingIsForbiddenWithoutAFile(t *testing.T) {
	t.Parallel()
	ports := []token.Port{tcp(1, 65535), udp(1, 65535)}
	for name, p := range map[string]*limits.Policy{
		"zero":   new(limits.Policy),
		"absent": limits.Load(filepath.Join(t.TempDir(), "policy.json")),
		"empty":  write(t, "{}"),
		"a BOM":  write(t, "\ufeff{}\r\n"),
		"system": write(t, `{"shell_as": "system", "no_terminal": false, "never_ports": []}`),
	} {
		if err := p.Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(ports, p.Narrow(ports)); diff != "" {
			t.Errorf("%s: ports (-want +got):\n%s", name, diff)
		}
		if until, ok := p.Open(noon); !ok || !until.IsZero() {
			t.Errorf("%s: open until %v, %v", name, until, ok)
		}
		if !p.Updates() || p.AsUser() || len(p.Sentences()) != 0 {
			t.Errorf("%s: updates %v, as user %v, says %q", name, p.Updates(), p.AsUser(), p.Sentences())
		}
	}
}

// TestBrokenPolicyAllowsNothing: what nobody can mean is never read as a permission.
func TestBrokenPolicyAllowsNothing(t *testing.T) {
	t.Parallel()
	for content, says := range map[string]string{
		"":                       "cannot be understood",
		"null":                   "null",
		"[]":                     "cannot be understood",
		"{":                      "cannot be understood",
		"{} {}":                  "something follows",
		`{"a":1}`:                `unknown field "a"`,
		`{"no_terminal": "yes"}`: "no_terminal",
		`{"no_terminal": null}`:  "null",
		`{"no_terminal": true, "no_terminal": false}`:                       "twice",
		`{"No_Terminal": true}`:                                             "lower case",
		`{"shell_as": "root"}`:                                              "root",
		`{"never_ports": ["3389"]}`:                                         "3389/tcp",
		`{"never_ports": ["3389/icmp"]}`:                                    "3389/icmp",
		`{"never_ports": ["0/tcp"]}`:                                        "0/tcp",
		`{"never_ports": ["65536/tcp"]}`:                                    "65536/tcp",
		`{"never_ports": ["9-8/tcp"]}`:                                      "9-8/tcp",
		`{"never_ports": ["1-2-3/tcp"]}`:                                    "1-2-3/tcp",
		`{"never_ports": [" 1/tcp"]}`:                                       " 1/tcp",
		`{"never_ports": ["+1/tcp"]}`:                                       "+1/tcp",
		`{"never_ports": ["\u001b/tcp"]}`:                                   `\x1b`,
		`{"never_ports": [` + strings.Repeat(`"1/tcp",`, 256) + `"2/tcp"]}`: "more than 256",
		`{"hours": []}`:                                                     "leave it out",
		`{"hours": [{}]}`:                                                   "time of day",
		`{"hours": [{"days": [], "from": "07:00", "to": "19:00"}]}`:         "days is empty",
		`{"hours": [{"days": ["Mon"], "from": "07:00", "to": "19:00"}]}`:    "Mon",
		`{"hours": [{"from": "07:00", "to": "07:00"}]}`:                     "nothing is between",
		`{"hours": [{"from": "24:00", "to": "07:00"}]}`:                     "nothing is between",
		`{"hours": [{"from": "7:00", "to": "19:00"}]}`:                      "7:00",
		`{"hours": [{"from": "07:00", "to": "25:00"}]}`:                     "25:00",
		`{"hours": [{"from": "07:00", "to": "19:00", "from": "00:00"}]}`:    "twice",
		`{"hours": [` + strings.Repeat(`{"from": "07:00", "to": "19:00"},`, 32) + `{"from": "07:00", "to": "19:00"}]}`: "33 entries",
		"{" + strings.Repeat(" ", 64<<10) + "}": "larger than",
	} {
		p := write(t, content)
		if err := p.Err(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60s: error %v does not say %q", content, err, says)
		}
		if got := p.Narrow([]token.Port{tcp(1, 65535)}); len(got) != 0 {
			t.Errorf("%.60s: allows %v", content, got)
		}
		if _, ok := p.Open(noon); ok || p.Updates() || !p.AsUser() {
			t.Errorf("%.60s: open %v, updates %v, as user %v", content, ok, p.Updates(), p.AsUser())
		}
		if s := p.Sentences(); len(s) != 1 || !strings.Contains(s[0], "mended") {
			t.Errorf("%.60s: says %q", content, s)
		}
		tellable(t, content, p)
	}
	if p := limits.Load(t.TempDir()); p.Err() == nil || len(p.Narrow([]token.Port{tcp(1, 2)})) != 0 {
		t.Error("a folder is a policy")
	}
}

// tellable fails the test unless an inventory can hold what a policy says.
func tellable(t *testing.T, name string, p *limits.Policy) {
	t.Helper()
	if _, err := (wire.FromAgent{Inventory: &wire.Inventory{Limits: p.Sentences()}}).Encode(); err != nil {
		t.Errorf("%.60s: an inventory does not take %q: %v", name, p.Sentences(), err)
	}
}

func TestNarrow(t *testing.T) {
	t.Parallel()
	shell := tcp(wire.ShellPort, wire.ShellPort)
	for name, c := range map[string]struct {
		policy      string
		ports, want []token.Port
	}{
		"one out of a range":      {`{"never_ports": ["5/tcp"]}`, []token.Port{tcp(1, 9)}, []token.Port{tcp(1, 4), tcp(6, 9)}},
		"its beginning":           {`{"never_ports": ["1-3/tcp"]}`, []token.Port{tcp(2, 9)}, []token.Port{tcp(4, 9)}},
		"its end":                 {`{"never_ports": ["8-65535/tcp"]}`, []token.Port{tcp(2, 9)}, []token.Port{tcp(2, 7)}},
		"the last port":           {`{"never_ports": ["65535/tcp"]}`, []token.Port{tcp(65535, 65535), tcp(1, 65535)}, []token.Port{tcp(1, 65534)}},
		"all of it":               {`{"never_ports": ["1-65535/tcp"]}`, []token.Port{tcp(2, 9), udp(2, 9)}, []token.Port{udp(2, 9)}},
		"another protocol":        {`{"never_ports": ["2-9/udp"]}`, []token.Port{tcp(2, 9)}, []token.Port{tcp(2, 9)}},
		"beside it":               {`{"never_ports": ["1/tcp", "10/tcp"]}`, []token.Port{tcp(2, 9)}, []token.Port{tcp(2, 9)}},
		"two out of one":          {`{"never_ports": ["3/tcp", "5-6/tcp"]}`, []token.Port{tcp(2, 9)}, []token.Port{tcp(2, 2), tcp(4, 4), tcp(7, 9)}},
		"overlapping":             {`{"never_ports": ["3-6/tcp", "5-8/tcp"]}`, []token.Port{tcp(2, 9), tcp(4, 7)}, []token.Port{tcp(2, 2), tcp(9, 9)}},
		"no terminal":             {`{"no_terminal": true}`, []token.Port{shell, tcp(22, 22), tcp(47001, 47003)}, []token.Port{tcp(22, 22), tcp(47001, 47001), tcp(47003, 47003)}},
		"the shell's port":        {`{"never_ports": ["47002/tcp"]}`, []token.Port{shell}, nil},
		"nothing that is allowed": {`{"never_ports": ["1/tcp"]}`, nil, nil},
	} {
		given := append([]token.Port(nil), c.ports...)
		if diff := cmp.Diff(c.want, write(t, c.policy).Narrow(c.ports)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(given, c.ports); diff != "" {
			t.Errorf("%s: what was given changed (-want +got):\n%s", name, diff)
		}
	}
}

// TestNarrowNeverWidens tries each port of both sides.
func TestNarrowNeverWidens(t *testing.T) {
	t.Parallel()
	has := func(ports []token.Port, n uint16) bool {
		for _, p := range ports {
			if p.From <= n && n <= p.To {
				return true
			}
		}
		return false
	}
	asked := []token.Port{tcp(1, 3), tcp(3, 40), tcp(60, 60), tcp(100, 200), tcp(65000, 65535)}
	never := []token.Port{tcp(2, 2), tcp(30, 70), tcp(100, 100), tcp(150, 160), tcp(155, 300), tcp(65535, 65535)}
	got := write(t, `{"never_ports": ["2/tcp", "30-70/tcp", "100/tcp", "150-160/tcp", "155-300/tcp", "65535/tcp"]}`).Narrow(asked)
	for n := 1; n <= 65535; n++ {
		if want := has(asked, uint16(n)) && !has(never, uint16(n)); has(got, uint16(n)) != want {
			t.Fatalf("port %d is allowed: %v, want %v", n, !want, want)
		}
	}
}

// TestAChangeIsInForceAtOnce writes the file while the policy is in use.
func TestAChangeIsInForceAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.json")
	p := limits.Load(path)
	for _, step := range []struct {
		content string
		updates bool
	}{{`{"no_updates":true}`, false}, {`{"no_updates":false}`, true}, {`{"no_updates":tru}`, false}} {
		if err := os.WriteFile(path, []byte(step.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := p.Updates(); got != step.updates {
			t.Errorf("%s: updates %v", step.content, got)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if !p.Updates() {
		t.Error("without the file there are no updates")
	}
}

func TestSentences(t *testing.T) {
	t.Parallel()
	p := write(t, `{"never_ports": ["3389/tcp", "5900-5910/tcp"], "no_terminal": true, "no_updates": true, "shell_as": "user",
		"hours": [{"days": ["mon", "tue"], "from": "07:00", "to": "19:00"}, {"from": "22:00", "to": "02:00"}]}`)
	want := []string{
		"Tunnels are allowed only at these hours, by the device's clock: mon, tue 07:00–19:00; every day 22:00–02:00.",
		"These ports are never allowed: 3389/tcp; 5900-5910/tcp.",
		"No terminal is allowed.",
		"Terminals run as the signed-in user, and only when there is one.",
		"The engine may not update the agent.",
	}
	if diff := cmp.Diff(want, p.Sentences()); diff != "" {
		t.Errorf("sentences (-want +got):\n%s", diff)
	}
	long := write(t, `{"never_ports": [`+strings.Repeat(`"10000-20000/tcp",`, 99)+`"1/tcp"]}`)
	if s := long.Sentences(); len(s) != 1 || len(s[0]) > 256 || !strings.HasSuffix(s[0], " more.") {
		t.Errorf("a long list says %q", s)
	}
	all := write(t, `{"hours": [`+strings.Repeat(`{"days": [`+strings.Repeat(`"wed",`, 99)+`"sun"], "from": "07:00", "to": "19:00"},`, 2)+`{"from": "07:00", "to": "19:00"}]}`)
	if s := all.Sentences(); len(s) != 1 || len(s[0]) > 256 {
		t.Errorf("a long list of days says %q", s)
	}
	for name, p := range map[string]*limits.Policy{"all": p, "long": long, "days": all} {
		tellable(t, name, p)
	}
}
