package netfilter

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"borealis/acl"
	"borealis/tunnel/wg/nstest"
)

// soon is longer than anything in a test takes that does not hang.
const soon = 20 * time.Second

var (
	pool   = netip.MustParsePrefix("10.255.0.0/16")
	device = netip.MustParseAddr("10.255.0.2")
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		if err := roles[role](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// roleEnv makes the test binary play a role instead of running tests.
const roleEnv = "BOREALIS_NETFILTER_ROLE"

// roles are what the test binary can be in a process of its own.
var roles = map[string]func(args []string) error{
	"steps": steps, "node": node, "probe": probeAll,
}

// inside takes the test into a namespace where iptables works.
func inside(t *testing.T) bool {
	t.Helper()
	if !nstest.Run(t) {
		return false
	}
	if _, err := families(t.Context(), os.Getenv("PATH")); err != nil {
		nstest.Skip(t, err.Error())
	}
	return true
}

// start opens a firewall and returns it with what it tells.
func start(t *testing.T, c Config) (*Firewall, <-chan Event) {
	t.Helper()
	return startWith(t, c, os.Getenv("PATH"))
}

func startWith(t *testing.T, c Config, path string) (*Firewall, <-chan Event) {
	t.Helper()
	events := make(chan Event, 100)
	c.Notify = func(e Event) { events <- e }
	if !c.Pool.IsValid() {
		c.Pool = pool
	}
	f, err := open(t.Context(), c, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f, events
}

func set(t *testing.T, f acl.Firewall, plan acl.Plan) {
	t.Helper()
	if err := f.Set(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
}

// sh runs shell commands, also while a test cleans up.
func sh(t testing.TB, script string) string {
	t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// saved is all that iptables-save says about one family, without what changes by itself.
func saved(t testing.TB, program string) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(sh(t, program+"-save")) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, ":") {
			line, _, _ = strings.Cut(line, " [")
			line += "\n"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}

// ownLines and otherLines part what belongs to this package from the rest.
func ownLines(text string) string   { return lines(text, true) }
func otherLines(text string) string { return lines(text, false) }

func lines(text string, own bool) string {
	var kept []string
	for line := range strings.Lines(text) {
		// A comment of another program names a chain of ours.
		if (strings.Contains(line, prefix) && !strings.Contains(line, "in a comment")) == own {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func equal(t *testing.T, what, want, got string) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func tcp(from, to uint16) acl.Port { return acl.Port{Protocol: acl.TCP, From: from, To: to} }
func udp(from, to uint16) acl.Port { return acl.Port{Protocol: acl.UDP, From: from, To: to} }

func currentGeneration(t *testing.T) uint32 {
	t.Helper()
	g, err := generation()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// next waits for an event of a kind.
func next(t *testing.T, events <-chan Event, kind EventKind) Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	select {
	case e := <-events:
		if e.Kind != kind {
			t.Fatalf("event %+v, want %s", e, kind)
		}
		return e
	case <-ctx.Done():
		t.Fatalf("no event %s", kind)
	}
	panic("unreachable")
}
