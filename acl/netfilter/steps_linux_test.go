package netfilter

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"borealis/acl"
)

// stepPlans are what the engine that is killed sets, one after the other.
func stepPlans() []acl.Plan {
	next := netip.MustParseAddr("10.255.9.9")
	return []acl.Plan{
		{device: {tcp(22, 22)}},
		{device: {tcp(22, 22), udp(53, 53)}, other: {}},
		{device: {udp(53, 53)}, next: {tcp(1, 65535)}},
		{next: {}},
	}
}

// steps is an engine that opens the packet filter, sets plans, and closes it. Argument: the search
// path of iptables.
func steps(args []string) error {
	ctx := context.Background()
	f, err := open(ctx, Config{Pool: pool}, args[0])
	if err != nil {
		return err
	}
	for _, plan := range stepPlans() {
		if err := f.Set(ctx, plan); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// killer is a restore that counts its calls, of both families, in the file calls, and kills who
// called it at the call that the file at names: before the work, after it, or in its middle.
const killer = `#!/bin/sh
echo >>DIR/calls
n=0
while read -r _; do n=$((n + 1)); done <DIR/calls
read -r at when <DIR/at
if [ "$n" != "$at" ]; then exec REAL "$@"; fi
case $when in
before) kill -9 $PPID ;;
during) { read -r first; echo "$first"; kill -9 $PPID; cat; } | REAL "$@" ;;
after) REAL "$@"; kill -9 $PPID ;;
esac
`

// deadly returns a search path whose programs kill the engine at a step.
func deadly(t *testing.T, step int, when string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"iptables-nft-restore", "ip6tables-nft-restore"} {
		script := strings.NewReplacer("DIR", dir, "REAL", find("", name)).Replace(killer)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "at"), fmt.Appendf(nil, "%d %s\n", step, when), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestKilledBetweenSteps kills the engine at every step and starts another.
func TestKilledBetweenSteps(t *testing.T) {
	if !inside(t) {
		return
	}
	sh(t, foreign)
	others, others6 := saved(t, "iptables-nft"), saved(t, "ip6tables-nft")
	const tooMany = 30
	for _, when := range []string{"before", "during", "after"} {
		step := 1
		for ; step < tooMany; step++ {
			cmd := self("steps", deadly(t, step, when))
			out, err := cmd.CombinedOutput()
			if err == nil {
				break // the engine came to its end before this step
			}
			if status, ok := errors.AsType[*exec.ExitError](err); !ok || status.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("killed %s step %d: %v\n%s", when, step, err, out)
			}
			if got := otherLines(saved(t, "iptables-nft")); got != otherLines(others) {
				equal(t, fmt.Sprintf("killed %s step %d: rules of others", when, step), otherLines(others), got)
			}
			revived(t, fmt.Sprintf("killed %s step %d", when, step), others, others6)
		}
		if want := 2 + len(stepPlans()) + 2; step != want+1 {
			t.Errorf("killed %s %d steps, want %d: opening, plans and closing", when, step-1, want)
		}
	}
}

// revived opens the packet filter after a crash, sets a plan, and closes.
func revived(t *testing.T, what, others, others6 string) {
	t.Helper()
	f, err := Open(t.Context(), Config{Pool: pool})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	equal(t, what+": rules after opening", text(rules4(f.config, nil)), ownLines(saved(t, "iptables-nft")))
	plan := stepPlans()[1]
	set(t, f, plan)
	equal(t, what+": rules", text(rules4(f.config, plan)), ownLines(saved(t, "iptables-nft")))
	equal(t, what+": rules of IPv6", golden6, ownLines(saved(t, "ip6tables-nft")))
	if err := f.Close(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	equal(t, what+": after close", others, saved(t, "iptables-nft"))
	equal(t, what+": after close, IPv6", others6, saved(t, "ip6tables-nft"))
}
