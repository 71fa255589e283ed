package netfilter

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// others is a rule of another program, which repairs leave alone.
const others = "iptables-nft -A OUTPUT -d 192.0.2.9/32 -j DROP; ip6tables-nft -A INPUT -s fd00::9/128 -j DROP; "

// flushed is what `nft flush ruleset` leaves: nothing at all.
func flushed(t *testing.T) {
	t.Helper()
	for _, f := range []family{{proto: unix.NFPROTO_IPV4}, {proto: unix.NFPROTO_IPV6}} {
		if err := f.command(unix.NFT_MSG_DELTABLE); err != nil {
			t.Fatal(err)
		}
	}
}

// atOnce makes several changes in one transaction.
func atOnce(lines ...string) string {
	return "iptables-nft-restore --noflush <<-END\n*filter\n" + strings.Join(lines, "\n") + "\nCOMMIT\nEND"
}

func asleep(t *testing.T) {
	t.Helper()
	if err := (family{proto: unix.NFPROTO_IPV4}).setFlags(unix.NFT_TABLE_F_DORMANT); err != nil {
		t.Fatal(err)
	}
}

func TestDriftIsRepaired(t *testing.T) {
	for _, c := range []struct {
		name   string
		script string
		more   func(*testing.T)
		says   string // what the event must name
	}{
		{"flush", "iptables-nft -F", nil, "the jump from FORWARD to BRL-FWD was gone"},
		{"flush and delete", "iptables-nft -F; iptables-nft -X || true", nil, "the jump from FORWARD to BRL-FWD was gone"},
		{"restore of other rules", "printf '*filter\\nCOMMIT\\n' | iptables-nft-restore", nil, "the jump from FORWARD to BRL-FWD was gone"},
		{"flush ruleset", "", flushed, "the jump from FORWARD to BRL-FWD was gone"},
		{"table switched off", "", asleep, "table filter was switched off"},
		{"rule deleted", "iptables-nft -D BRL-OUT -p tcp -j REJECT --reject-with tcp-reset", nil, "rule of chain BRL-OUT was gone"},
		{"rule added", "iptables-nft -A BRL-A-10.255.0.2 -p tcp --dport 9 -j ACCEPT", nil, "BRL-A-10.255.0.2 had a rule too many"},
		{"accept above us", "iptables-nft -I OUTPUT -j ACCEPT", nil, "rules stood before our jump in OUTPUT"},
		{"accept between us", "iptables-nft -I FORWARD 2 -j ACCEPT", nil, "rules stood before our jump in FORWARD"},
		{"jump deleted", "iptables-nft -D INPUT -i borealis0 -j BRL-IN", nil, "jump from INPUT to BRL-IN was gone"},
		{"jump doubled", "iptables-nft -A OUTPUT -o borealis0 -j BRL-OUT", nil, "too many jumps from OUTPUT"},
		{"jump for less", "iptables-nft -R OUTPUT 1 -o borealis0 -p tcp -j BRL-OUT", nil, "jump from OUTPUT to BRL-OUT was gone"},
		{"jump that negates", "iptables-nft -R OUTPUT 1 ! -o borealis0 -j BRL-OUT", nil, "jump from OUTPUT to BRL-OUT was gone"},
		{"order", atOnce("-D BRL-IN -j DROP", "-I BRL-IN -j DROP"), nil, "BRL-IN had other rules"},
		{"match with no options", "iptables-nft -R BRL-FWD 1 -m socket -j DROP || iptables-nft -R BRL-FWD 1 -m comment --comment x -j DROP", nil, "BRL-FWD had other rules"},
		{"guard lifted", "iptables-nft -R BRL-OUT 2 -m owner --socket-exists --uid-owner 0 -j REJECT", nil, "BRL-OUT had other rules"},
		{"chain of our name", atOnce(":BRL-X -", "-A INPUT -j BRL-X"), nil, "chain BRL-X should not have been there"},
		{"jump from a chain of others", atOnce(":MINE -", "-A MINE -j BRL-FWD"), nil, "a rule in MINE led into our chains"},
		{"IPv6 flushed", "ip6tables-nft -F", nil, "(IPv6)"},
		{"many rules", atOnce("-D BRL-SRC 2", "-I INPUT -j ACCEPT", "-F BRL-FWD", "-A BRL-IN -j ACCEPT", "-A BRL-FWD -j ACCEPT"), nil, "and 1 more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !inside(t) {
				return
			}
			sh(t, others)
			f, events := start(t, Config{})
			set(t, f, goldenPlan())
			want, want6 := ownLines(saved(t, "iptables-nft")), ownLines(saved(t, "ip6tables-nft"))
			if c.more != nil {
				c.more(t)
			}
			sh(t, c.script)
			begun := time.Now()
			e := next(t, events, Repaired)
			if !strings.Contains(strings.ToLower(e.Detail), strings.ToLower(c.says)) || e.Err != nil || e.At.IsZero() {
				t.Errorf("event %+v, want it to say %q", e, c.says)
			}
			t.Logf("after %s: %s", time.Since(begun).Round(time.Millisecond), e.Detail)
			if err := f.Check(t.Context()); err != nil { // commands that follow each other may be two drifts
				t.Error(err)
			}
			equal(t, "rules", want, ownLines(saved(t, "iptables-nft")))
			equal(t, "rules of IPv6", want6, ownLines(saved(t, "ip6tables-nft")))
			if asleep, err := f.families[0].dormant(); asleep || err != nil {
				t.Errorf("the table is switched off: %v, %v", asleep, err)
			}
			if got := saved(t, "iptables-nft"); c.more == nil && !strings.Contains(c.script, "-F;") && !strings.HasSuffix(c.script, "-restore") && c.name != "flush" && !strings.Contains(got, "192.0.2.9") {
				t.Errorf("the rule of another program is gone:\n%s", got)
			}
			if err := f.Healthy(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestChangesOfOthersAreNotDrift makes changes around our rules.
func TestChangesOfOthersAreNotDrift(t *testing.T) {
	if !inside(t) {
		return
	}
	f, events := start(t, Config{})
	set(t, f, goldenPlan())
	sh(t, foreign)
	sh(t, "iptables-nft -I INPUT 3 -j ACCEPT; iptables-nft -t nat -F; iptables-nft -Z")
	before := saved(t, "iptables-nft")
	if err := f.Check(t.Context()); err != nil {
		t.Error(err)
	}
	equal(t, "rules", before, saved(t, "iptables-nft"))
	select {
	case e := <-events:
		t.Errorf("event %+v", e)
	default:
	}
}

// TestNews waits for the kernel's word that somebody changed rules.
func TestNews(t *testing.T) {
	if !inside(t) {
		return
	}
	s, err := subscribe()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	timeout := unix.NsecToTimeval(soon.Nanoseconds())
	if err := s.SetReceiveTimeout(&timeout); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		sh(t, "iptables-nft -A INPUT -j ACCEPT")
		news, _, err := s.Receive()
		if err != nil {
			t.Fatalf("change %d: no news: %v", n, err)
		}
		if len(news) != 1 || news[0].Header.Type != nfTables|unix.NFT_MSG_NEWGEN {
			t.Errorf("change %d: news are %+v, want one generation", n, news)
		}
	}
}

func TestCheckRepairsAtOnce(t *testing.T) {
	if !inside(t) {
		return
	}
	f, events := start(t, Config{})
	set(t, f, goldenPlan())
	sh(t, "iptables-nft -F BRL-OUT")
	if err := f.Check(t.Context()); err != nil {
		t.Error(err)
	}
	equal(t, "rules", golden, strings.ReplaceAll(ownLines(saved(t, "iptables-nft")), "--uid-owner 0", "--uid-owner OWNER"))
	next(t, events, Repaired)
}

// TestSetAfterDrift sets a plan whose single changes no longer fit what is there.
func TestSetAfterDrift(t *testing.T) {
	if !inside(t) {
		return
	}
	f, events := start(t, Config{})
	set(t, f, goldenPlan())
	plan := goldenPlan()
	plan[device] = plan[device][:1]
	// The watcher must not be the first to see it.
	if err := f.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- f.Set(t.Context(), plan) }()
	flushed(t)
	f.give()
	if err := <-done; err != nil {
		t.Error(err)
	}
	next(t, events, Repaired)
	if err := f.Check(t.Context()); err != nil {
		t.Error(err)
	}
	equal(t, "rules", text(rules4(f.config, plan)), ownLines(saved(t, "iptables-nft")))
	equal(t, "rules of IPv6", golden6, ownLines(saved(t, "ip6tables-nft")))
}

// broken returns a search path where a program of iptables fails while a file is there, and the
// name of that file.
func broken(t *testing.T, program string) (path, file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "broken")
	real := find("", program)
	script := "#!/bin/sh\nif [ -e " + file + " ]; then echo out of order >&2; exit 1; fi\nexec " + real + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, file
}

func TestLostAndRestored(t *testing.T) {
	for _, program := range []string{"iptables-nft-restore", "ip6tables-nft-restore", "iptables-nft-save"} {
		t.Run(program, func(t *testing.T) {
			if !inside(t) {
				return
			}
			path, file := broken(t, program)
			f, events := startWith(t, Config{}, path)
			set(t, f, goldenPlan())
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			sh(t, "iptables-nft -F OUTPUT; ip6tables-nft -F OUTPUT")
			e := next(t, events, Lost)
			if e.Err == nil || !strings.Contains(e.Err.Error(), "out of order") || e.Detail == "" {
				t.Errorf("event %+v", e)
			}
			if program == "ip6tables-nft-restore" { // IPv4 is closed all the same
				equal(t, "rules", text(rules4(f.config, goldenPlan())), ownLines(saved(t, "iptables-nft")))
			}
			if err := f.Healthy(); err == nil || !strings.Contains(err.Error(), "out of order") {
				t.Errorf("healthy while lost: %v", err)
			}
			if err := f.Check(t.Context()); err == nil {
				t.Error("check while lost finds nothing wrong")
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			next(t, events, Restored)
			if err := f.Healthy(); err != nil {
				t.Error(err)
			}
			equal(t, "rules", text(rules4(f.config, goldenPlan())), ownLines(saved(t, "iptables-nft")))
			equal(t, "rules of IPv6", golden6, ownLines(saved(t, "ip6tables-nft")))
		})
	}
}

// TestLargeRepairClosesFirst loses the rules of many devices, which take long to come back.
func TestLargeRepairClosesFirst(t *testing.T) {
	if !inside(t) {
		return
	}
	path, file := broken(t, "iptables-nft-restore")
	script := fmt.Sprintf("#!/bin/sh\ncat >%[1]s.in\nif [ -e %[1]s ] && [ $(wc -c <%[1]s.in) -gt %[2]d ]; then echo too much >&2; exit 1; fi\nexec %[3]s \"$@\" <%[1]s.in\n",
		file, maxPart, find("", "iptables-nft-restore"))
	if err := os.WriteFile(filepath.Join(path, "iptables-nft-restore"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	sh(t, others)
	f, events := startWith(t, Config{}, path)
	plan := manyDevices(200)
	set(t, f, plan)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	sh(t, "iptables-nft -F")
	next(t, events, Lost)
	have, want := f.table(t), rules4(f.config, plan)
	if !have.jumpsRight("OUTPUT", want) || !have.jumpsRight("INPUT", want) || !have.jumpsRight("FORWARD", want) {
		t.Errorf("the jumps are not there: %v", have)
	}
	if got := have[chainOut]; len(got) != 3 || got[2] != drop || !same(have[chainFwd], want.chains[chainFwd]) {
		t.Errorf("meanwhile BRL-OUT holds %q", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	next(t, events, Restored)
	equal(t, "rules", text(want), ownLines(saved(t, "iptables-nft")))
}

// TestFailureHidesNoDrift has another program change rules at the moment in which a change of ours
// fails, so that there is one generation more, as after a change of ours.
func TestFailureHidesNoDrift(t *testing.T) {
	if !inside(t) {
		return
	}
	path, file := broken(t, "iptables-nft-restore")
	f, events := startWith(t, Config{}, path)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\nif [ -e " + file + " ]; then rm " + file + "; ip6tables-nft -F OUTPUT; exit 1; fi\nexec " +
		find("", "iptables-nft-restore") + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(path, "iptables-nft-restore"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	set(t, f, goldenPlan())
	next(t, events, Repaired) // of Set, which mends its own family
	next(t, events, Repaired) // of the watcher
	equal(t, "rules", text(rules4(f.config, goldenPlan())), ownLines(saved(t, "iptables-nft")))
	equal(t, "rules of IPv6", golden6, ownLines(saved(t, "ip6tables-nft")))
}

// TestFailedSetChangesNothing sets a plan while the kernel cannot be told.
func TestFailedSetChangesNothing(t *testing.T) {
	if !inside(t) {
		return
	}
	path, file := broken(t, "iptables-nft-restore")
	f, _ := startWith(t, Config{}, path)
	set(t, f, goldenPlan())
	before := saved(t, "iptables-nft")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	plan := goldenPlan()
	delete(plan, device)
	err := f.Set(t.Context(), plan)
	if err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("set: %v", err)
	}
	equal(t, "rules", before, saved(t, "iptables-nft"))
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := f.Check(t.Context()); err != nil {
		t.Error(err)
	}
	equal(t, "rules after a check", before, saved(t, "iptables-nft"))
	set(t, f, plan)
	equal(t, "rules after setting it again", text(rules4(f.config, plan)), ownLines(saved(t, "iptables-nft")))
}

// TestFight has another program put its rule above ours whenever it is not there.
func TestFight(t *testing.T) {
	if !inside(t) {
		return
	}
	f, events := start(t, Config{})
	set(t, f, goldenPlan())
	before := currentGeneration(t)
	const rounds = talkativeness + 3
	begun := time.Now()
	for n := range rounds {
		sh(t, "iptables-nft -D OUTPUT -j ACCEPT 2>/dev/null || true; iptables-nft -I OUTPUT -j ACCEPT")
		for f.table(t)["OUTPUT"][0] == "-j ACCEPT" { // until our rule is the first again
			f.wait(t)
		}
		if err := f.take(t.Context()); err != nil { // until that was read back
			t.Fatal(err)
		}
		f.give()
		if n < talkativeness {
			next(t, events, Repaired)
		}
	}
	took := time.Since(begun)
	if least := (rounds - 1) * repairGap; took < least {
		t.Errorf("%d repairs took %s, want at least %s", rounds, took, least)
	}
	select {
	case e := <-events:
		t.Errorf("event %+v", e)
	default:
	}
	t.Logf("%d repairs in %s, %d generations", rounds, took, currentGeneration(t)-before)
}

// table reads what the kernel holds for IPv4.
func (f *Firewall) table(t *testing.T) table {
	t.Helper()
	have, err := f.families[0].read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return have
}

// wait waits for the next change of rules by anybody.
func (f *Firewall) wait(t *testing.T) {
	t.Helper()
	s, err := subscribe()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if f.table(t)["OUTPUT"][0] != "-j ACCEPT" {
		return
	}
	timeout := unix.NsecToTimeval(soon.Nanoseconds())
	if err := s.SetReceiveTimeout(&timeout); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Receive(); err != nil {
		t.Fatalf("no news: %v", err)
	}
}

func TestNormal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"-p tcp -m tcp --dport 22 -j ACCEPT", "-p tcp --dport 22:22 -j ACCEPT", true},
		{"-d 10.0.0.1 -j X", "-d 10.0.0.1/32 -j X", true},
		{"-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT", replies, true},
		{"-j REJECT", refuse, true},
		{"-m owner ! --uid-owner 1 --socket-exists -j REJECT", "-m owner --socket-exists ! --uid-owner 1 " + refuse, true},
		{"-i ! lo -j DROP", "! -i lo -j DROP", true},
		{"-j REJECT", "-j REJECT --reject-with icmp-host-unreachable", false},
		{"-i lo -j DROP", "! -i lo -j DROP", false},
		{"-i lo -j DROP", "-o lo -j DROP", false},
		{"-m socket -j DROP", "-j DROP", false},
		{"-j DROP", "-g DROP", false},
		{"-m owner --socket-exists -j REJECT", "-m owner --socket-exists ! --uid-owner 1 -j REJECT", false},
		{"-m owner ! --socket-exists --uid-owner 1 -j REJECT", "-m owner --socket-exists ! --uid-owner 1 -j REJECT", false},
		{`-m comment --comment "-p tcp" -j DROP`, "-m comment --comment -p tcp -j DROP", false},
		{"-p tcp -m tcp --dport 22 -j ACCEPT", "-p tcp -m tcp --sport 22 -j ACCEPT", false},
		{"-p tcp -m tcp --dport 22 -j ACCEPT", "-p tcp -m tcp --dport 22:23 -j ACCEPT", false},
		{"-p tcp -m tcp --dport 22 -j ACCEPT", "-p tcp -m tcp --dport 22 -m limit --limit 1/sec -j ACCEPT", false},
		{"-d 10.0.0.0/24 -j X", "-d 10.0.0.0/25 -j X", false},
	} {
		if got := normal(c.a) == normal(c.b); got != c.same {
			t.Errorf("%q and %q: same %v, want %v (%s, %s)", c.a, c.b, got, c.same, normal(c.a), normal(c.b))
		}
	}
}
