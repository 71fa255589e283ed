package tunnel

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// checksEnv hands down how many sequences there shall be to where iptables can be used.
const checksEnv = "RAPID_CHECKS"

// TestModelOfAFlush is TestModel on a TUN device, with the rules of the host's packet filter, which
// somebody flushes, and which sometimes cannot be put back. A sequence takes a hundred times as
// long as one of TestModel, so there are one for every 250.
func TestModelOfAFlush(t *testing.T) {
	checks, err := strconv.Atoi(flag.Lookup("rapid.checks").Value.String())
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv(checksEnv) == "" {
		t.Setenv(checksEnv, fmt.Sprint(max(checks/250, 2)))
	}
	if !inNamespace(t) {
		return
	}
	averageSteps(t, 10)
	broken := breakable(t)
	w := newWorld(t, modelKeys(t), onTUN)
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	rapid.Check(t, func(rt *rapid.T) {
		w.used++
		passed := false
		defer func() {
			if !passed { // the next sequence begins with nothing of this one
				_ = os.Remove(broken)
				w.discard()
				w = newWorld(t, w.keys, onTUN)
			}
		}()
		f := flushMachine{newMachine(rt, w), broken}
		rt.Repeat(f.actions())
		if f.ref.lost {
			f.putBack(rt)
		}
		f.finish(rt)
		f.checkRules(rt)
		passed = true
	})
}

// A flushMachine is a machine whose host has a packet filter.
type flushMachine struct {
	*machine

	broken string // a file: while it is there the rules cannot be put back
}

func (f flushMachine) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"":                 func(t *rapid.T) { f.check(t); f.checkRules(t) },
		"connect":          f.connect,
		"connect again":    f.connect,
		"connect at once":  f.connectAtOnce,
		"disconnect":       f.disconnect,
		"handshake":        f.handshake,
		"toggle":           f.toggle,
		"race of ends":     f.raceOfEnds,
		"agent crashes":    f.agentCrashes,
		"agent returns":    f.agentReturns,
		"flush":            f.flushed,
		"flush everything": f.flushed,
		"lose":             f.lose,
		"put back":         f.putBack,
		"restart":          f.restart,
	}
}

// flushed removes the rules, which come back while the tunnels go on.
func (f flushMachine) flushed(t *rapid.T) {
	if f.ref.lost {
		t.Skip("there are none")
	}
	before := f.rules(t)
	f.remove(t)
	limit, look := time.NewTimer(patience), time.NewTicker(20*time.Millisecond)
	defer limit.Stop()
	defer look.Stop()
	for f.rules(t) != before { // not every repair is told of
		select {
		case <-look.C:
		case <-limit.C:
			t.Fatalf("the rules do not come back:\n%s\nbefore:\n%s", f.rules(t), before)
		}
	}
}

// rules are the host's rules that belong to the engine.
func (f flushMachine) rules(t *rapid.T) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "iptables-nft-save", "-t", "filter").CombinedOutput()
	if err != nil {
		t.Fatalf("read the rules: %v\n%s", err, out)
	}
	var own strings.Builder
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "BRL-") {
			own.WriteString(line)
		}
	}
	return own.String()
}

func (f flushMachine) remove(t *rapid.T) {
	how := rapid.SampledFrom([]string{"iptables-nft -F", "iptables-nft -F BRL-OUT"}).Draw(t, "how")
	words := strings.Fields(how)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", how, err, out)
	}
}

// lose removes the rules when they cannot be put back: every tunnel ends.
func (f flushMachine) lose(t *rapid.T) {
	if f.ref.lost {
		t.Skip("is so")
	}
	must(t, "break iptables", os.WriteFile(f.broken, nil, 0o600))
	f.remove(t)
	must(t, "lose", f.w.awaits("the firewall is lost", func() bool { return f.w.manager.Link().Err != nil }))
	f.ref.lost = true
	for _, d := range f.ref.devices {
		d.end("", FirewallLost)
	}
}

func (f flushMachine) putBack(t *rapid.T) {
	if !f.ref.lost {
		t.Skip("they are there")
	}
	must(t, "mend iptables", os.Remove(f.broken))
	must(t, "put back", f.w.awaits("the firewall is whole", func() bool { return f.w.manager.Link().Err == nil }))
	f.ref.lost = false
}

// restart is rare and only by the book. What is left of the rules then is seen by checkRules.
func (f flushMachine) restart(t *rapid.T) {
	if f.ref.lost || rapid.IntRange(0, 4).Draw(t, "restart") != 4 {
		t.Skip("not this time")
	}
	f.machine.restart(t)
}

// checkRules compares the chains of the host's packet filter with the tunnels.
func (f flushMachine) checkRules(t *rapid.T) {
	if f.ref.lost {
		return // nothing is known of them
	}
	want := make(map[string]bool)
	for i, d := range f.ref.devices {
		if in(Peered, Up)(d) {
			want["BRL-A-"+f.w.leased[f.agents[i].device.ID]] = true
		}
	}
	got := make(map[string]bool)
	for line := range strings.Lines(f.rules(t)) {
		if name, ok := strings.CutPrefix(line, ":BRL-A-"); ok {
			name, _, _ = strings.Cut(name, " ")
			got["BRL-A-"+name] = true
		}
	}
	if !maps.Equal(got, want) {
		t.Fatalf("chains %v, want %v", slices.Collect(maps.Keys(got)), slices.Collect(maps.Keys(want)))
	}
}
