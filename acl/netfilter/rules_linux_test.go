package netfilter

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"borealis/acl"
)

// golden is what a plan of two devices looks like to iptables-save.
const golden = `:BRL-A-10.255.0.2 -
:BRL-A-10.255.0.9 -
:BRL-A-10.255.7.3 -
:BRL-D-10.255.0 -
:BRL-D-10.255.7 -
:BRL-FWD -
:BRL-IN -
:BRL-OUT -
:BRL-SRC -
-A INPUT -i borealis0 -j BRL-IN
-A INPUT -s 10.255.0.0/16 ! -i borealis0 -j BRL-SRC
-A FORWARD -i borealis0 -j BRL-FWD
-A FORWARD -o borealis0 -j BRL-FWD
-A OUTPUT -o borealis0 -j BRL-OUT
-A BRL-A-10.255.0.2 -p tcp -m tcp --dport 3389 -j ACCEPT
-A BRL-A-10.255.0.2 -p tcp -m tcp --dport 47002 -j ACCEPT
-A BRL-A-10.255.0.2 -p udp -m udp --dport 5000:5010 -j ACCEPT
-A BRL-A-10.255.7.3 -p tcp -m tcp --dport 1:65535 -j ACCEPT
-A BRL-A-10.255.7.3 -p udp -m udp --dport 65535 -j ACCEPT
-A BRL-D-10.255.0 -d 10.255.0.2/32 -j BRL-A-10.255.0.2
-A BRL-D-10.255.0 -d 10.255.0.9/32 -j BRL-A-10.255.0.9
-A BRL-D-10.255.7 -d 10.255.7.3/32 -j BRL-A-10.255.7.3
-A BRL-FWD -j DROP
-A BRL-IN -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A BRL-IN -j DROP
-A BRL-OUT -p tcp -m owner --socket-exists ! --uid-owner OWNER -j REJECT --reject-with tcp-reset
-A BRL-OUT -m owner --socket-exists ! --uid-owner OWNER -j REJECT --reject-with icmp-port-unreachable
-A BRL-OUT -d 10.255.0.0/24 -j BRL-D-10.255.0
-A BRL-OUT -d 10.255.7.0/24 -j BRL-D-10.255.7
-A BRL-OUT -p tcp -j REJECT --reject-with tcp-reset
-A BRL-OUT -j REJECT --reject-with icmp-port-unreachable
-A BRL-SRC -i lo -j RETURN
-A BRL-SRC -j DROP
`

const golden6 = `:BRL-FWD -
:BRL-IN -
:BRL-OUT -
-A INPUT -i borealis0 -j BRL-IN
-A FORWARD -i borealis0 -j BRL-FWD
-A FORWARD -o borealis0 -j BRL-FWD
-A OUTPUT -o borealis0 -j BRL-OUT
-A BRL-FWD -j DROP
-A BRL-IN -j DROP
-A BRL-OUT -j DROP
`

// goldenPlan is the plan of golden, with a port that is there twice.
func goldenPlan() acl.Plan {
	return acl.Plan{
		device:                            {tcp(47002, 47002), udp(5000, 5010), {Service: "rdp", Protocol: acl.TCP, From: 3389, To: 3389}, tcp(3389, 3389)},
		netip.MustParseAddr("10.255.0.9"): {},
		netip.MustParseAddr("10.255.7.3"): {udp(65535, 65535), tcp(1, 65535)},
	}
}

// foreign is what other programs have on a host.
const foreign = `
iptables-nft-restore --noflush <<-'END'
	*nat
	:DOCKER - [0:0]
	-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
	-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
	COMMIT
	*filter
	:DOCKER-USER - [0:0]
	:f2b-sshd - [0:0]
	-A INPUT -p tcp -m multiport --dports 22,2222 -m comment --comment "it's \"-j BRL-IN\" in a comment" -j f2b-sshd
	-A INPUT -i lo -j ACCEPT
	-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
	-A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
	-A OUTPUT -d 10.255.0.2/32 -j ACCEPT
	-A FORWARD -j DOCKER-USER
	-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
	-A f2b-sshd -s 192.0.2.7/32 -j REJECT --reject-with icmp-port-unreachable
	-A f2b-sshd -j RETURN
	-A DOCKER-USER -j RETURN
	COMMIT
	*mangle
	-A OUTPUT -p tcp -j MARK --set-xmark 0x1/0xffffffff
	COMMIT
END
iptables-nft -P FORWARD DROP
ip6tables-nft -A INPUT -p tcp --dport 22 -m comment --comment "ssh here" -j ACCEPT
ip6tables-nft -A FORWARD -j DROP
`

func TestPlanAsRules(t *testing.T) {
	if !inside(t) {
		return
	}
	sh(t, foreign)
	before, before6 := saved(t, "iptables-nft"), saved(t, "ip6tables-nft")
	owner := 4711
	if !manyUsers(t) {
		owner = 0
	}
	f, _ := start(t, Config{Owner: owner})
	set(t, f, goldenPlan())
	now, now6 := saved(t, "iptables-nft"), saved(t, "ip6tables-nft")
	equal(t, "our rules", strings.ReplaceAll(golden, "OWNER", strconv.Itoa(owner)), ownLines(now))
	equal(t, "our rules of IPv6", golden6, ownLines(now6))
	equal(t, "rules of others", otherLines(before), otherLines(now))
	equal(t, "rules of others, IPv6", before6, otherLines(now6))

	generation := currentGeneration(t)
	set(t, f, goldenPlan())
	if got := currentGeneration(t); got != generation {
		t.Errorf("setting the same plan again changed something: generation %d, then %d", generation, got)
	}
	if err := f.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if got := currentGeneration(t); got != generation {
		t.Errorf("checking changed something: generation %d, then %d", generation, got)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	equal(t, "after close", before, saved(t, "iptables-nft"))
	equal(t, "after close, IPv6", before6, saved(t, "ip6tables-nft"))
	if err := f.Set(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("set after close: %v", err)
	}
	if err := f.Healthy(); !errors.Is(err, ErrClosed) {
		t.Errorf("healthy after close: %v", err)
	}
}

// TestEveryChange walks through plans and compares what single changes lead to with what a fresh
// start on the same plan gives.
func TestEveryChange(t *testing.T) {
	if !inside(t) {
		return
	}
	a, b, c := device, netip.MustParseAddr("10.255.0.3"), netip.MustParseAddr("10.255.200.77")
	var many []acl.Port
	for n := range uint16(64) {
		many = append(many, tcp(1000+10*n, 1005+10*n))
	}
	full := make(acl.Plan)
	for n := range 256 {
		full[netip.AddrFrom4([4]byte{10, 255, 3, byte(n)})] = []acl.Port{tcp(22, 22)}
	}
	less := maps.Clone(full)
	delete(less, netip.MustParseAddr("10.255.3.128"))
	f, _ := start(t, Config{})
	for n, plan := range []acl.Plan{
		{a: {tcp(80, 80)}},
		{a: {tcp(80, 80), udp(53, 53)}},
		{a: {udp(53, 53)}, b: {}},
		{a: {}, b: {tcp(1, 1)}},
		{c: {tcp(1, 1)}, b: {tcp(1, 1)}},
		{a: many, c: {tcp(1, 1), tcp(2, 2)}},
		{a: append([]acl.Port{tcp(9, 9)}, many[10:]...), c: {tcp(2, 2), tcp(1, 1)}},
		full,
		less,
		full,
		{},
		{a: many},
		nil,
	} {
		generation := currentGeneration(t)
		set(t, f, plan)
		if got := currentGeneration(t); got > generation+1 {
			t.Errorf("plan %d took %d transactions, want one", n, got-generation)
		}
		if known := f.known(t); known != currentGeneration(t) {
			t.Errorf("plan %d: generation %d is known, want %d: the change looks like somebody else's", n, known, currentGeneration(t))
		}
		want := text(rules4(f.config, plan))
		equal(t, fmt.Sprintf("rules of plan %d", n), want, ownLines(saved(t, "iptables-nft")))
	}
}

// known is the generation that the firewall takes for right.
func (f *Firewall) known(t *testing.T) uint32 {
	t.Helper()
	if err := f.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer f.give()
	return f.generation
}

// text writes rules as iptables-save does.
func text(r rules) string {
	var b strings.Builder
	for _, chain := range sorted(r.chains) {
		fmt.Fprintf(&b, ":%s -\n", chain)
	}
	for _, chain := range []string{"INPUT", "FORWARD", "OUTPUT"} {
		for _, rule := range r.jumps[chain] {
			fmt.Fprintf(&b, "-A %s %s\n", chain, rule)
		}
	}
	for _, chain := range sorted(r.chains) {
		for _, rule := range r.chains[chain] {
			fmt.Fprintf(&b, "-A %s %s\n", chain, rule)
		}
	}
	return b.String()
}

func TestLargePool(t *testing.T) {
	if !inside(t) {
		return
	}
	f, _ := start(t, Config{Pool: netip.MustParsePrefix("10.0.0.0/8"), HostUsers: true})
	plan := make(acl.Plan)
	for n := range 300 {
		plan[netip.AddrFrom4([4]byte{10, byte(n), byte(n >> 2), byte(n * 7)})] = []acl.Port{tcp(22, 22)}
	}
	set(t, f, plan)
	got := saved(t, "iptables-nft")
	equal(t, "rules", text(rules4(f.config, plan)), ownLines(got))
	if strings.Contains(got, "owner") {
		t.Error("there is an owner guard although every user may")
	}
}

func TestBadPlanChangesNothing(t *testing.T) {
	if !inside(t) {
		return
	}
	f, _ := start(t, Config{})
	set(t, f, goldenPlan())
	before := saved(t, "iptables-nft")
	for _, plan := range []acl.Plan{
		{netip.MustParseAddr("10.254.0.1"): {}},
		{netip.MustParseAddr("fd00::1"): {}},
		{device: {tcp(0, 5)}},
		{device: {tcp(6, 5)}},
		{device: {{Protocol: "tcp -j ACCEPT\n-A INPUT", From: 1, To: 1}}},
	} {
		if err := f.Set(t.Context(), plan); err == nil {
			t.Errorf("plan %v was taken", plan)
		}
	}
	equal(t, "rules", before, saved(t, "iptables-nft"))
}

func TestOneChangeAmongManyDevices(t *testing.T) {
	if !inside(t) {
		return
	}
	f, _ := start(t, Config{})
	plan := manyDevices(5000)
	set(t, f, plan)
	out := "iptables-nft -v -S BRL-OUT; iptables-nft -v -S BRL-A-10.255.19.100; iptables-nft -v -S BRL-A-10.255.1.1"
	var counted strings.Builder
	for _, r := range portRules(plan[device]) {
		counted.WriteString("[7:99] -A BRL-A-10.255.19.100 " + r + "\n")
	}
	sh(t, "iptables-nft-restore --counters --noflush <<-END\n*filter\n:BRL-A-10.255.19.100 - [0:0]\n"+counted.String()+"COMMIT\nEND")
	one := netip.MustParseAddr("10.255.1.1")
	before, generation := sh(t, out), currentGeneration(t)
	plan[one] = append(plan[one], tcp(8443, 8443))
	set(t, f, plan)
	if got := currentGeneration(t); got != generation+1 {
		t.Errorf("generation %d, want %d", got, generation+1)
	}
	after := sh(t, out)
	added := "-A BRL-A-10.255.1.1 -p tcp -m tcp --dport 8443 -c 0 0 -j ACCEPT\n"
	if !strings.Contains(before, "-c 7 99") || !strings.Contains(after, added) {
		t.Fatalf("before:\n%s\nafter:\n%s", before, after)
	}
	equal(t, "all but the new rule", before, strings.Replace(after, added, "", 1))
}

// manyDevices is a plan of devices with the ports of a usual one each.
func manyDevices(n int) acl.Plan {
	plan := make(acl.Plan, n)
	for addr := device; len(plan) < n; addr = addr.Next() {
		plan[addr] = []acl.Port{tcp(22, 22), tcp(3389, 3389), udp(3389, 3389), tcp(5900, 5900), udp(3478, 3478), tcp(47002, 47002)}
	}
	return plan
}

func TestOneEngineOnly(t *testing.T) {
	if !inside(t) {
		return
	}
	f, _ := start(t, Config{})
	if g, err := Open(t.Context(), Config{Pool: pool}); !errors.Is(err, ErrInUse) {
		t.Errorf("second open: %v, %v; want %v", g, err, ErrInUse)
	}
	if err := f.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, Config{})
}

func TestOpenRefusals(t *testing.T) {
	if !inside(t) {
		return
	}
	fake := func(files map[string]string) string {
		dir := t.TempDir()
		for name, says := range files {
			script := "#!/bin/sh\necho '" + says + "'\n"
			if err := os.WriteFile(dir+"/"+name, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for _, c := range []struct {
		name string
		c    Config
		path string
		want error
	}{
		{"legacy", Config{Pool: pool}, fake(map[string]string{"iptables-nft": "iptables v1.8.9 (legacy)", "iptables": "iptables v1.4.21"}), ErrLegacy},
		{"no pool", Config{}, "", nil},
		{"pool of IPv6", Config{Pool: netip.MustParsePrefix("fd00::/8")}, "", nil},
		{"wildcard", Config{Pool: pool, Interface: "borealis+"}, "", nil},
		{"two words", Config{Pool: pool, Interface: "a -j ACCEPT"}, "", nil},
		{"long name", Config{Pool: pool, Interface: "borealis01234567"}, "", nil},
		{"no such user", Config{Pool: pool, Owner: -1}, "", nil},
	} {
		f, err := open(t.Context(), c.c, c.path)
		if err == nil || (c.want != nil && !errors.Is(err, c.want)) {
			t.Errorf("%s: %v, %v; want %v", c.name, f, err, c.want)
		}
	}
	if got := saved(t, "iptables-nft"); got != "" {
		t.Errorf("refusals left\n%s", got)
	}
}

func TestFindPrograms(t *testing.T) {
	if got, err := findFamily(t.Context(), "", "no-such-tables"); !errors.Is(err, ErrNoIPTables) {
		t.Errorf("%v, %v; want %v", got, err, ErrNoIPTables)
	}
}

func TestCounters(t *testing.T) {
	if !inside(t) {
		return
	}
	f, _ := start(t, Config{})
	rdp := acl.Port{Service: "rdp", Protocol: acl.TCP, From: 3389, To: 3389}
	set(t, f, acl.Plan{device: {rdp, udp(1, 9)}})
	sh(t, "iptables-nft-restore --counters --noflush <<-END\n*filter\n"+
		":BRL-A-10.255.0.2 - [0:0]\n"+
		"[7:99] -A BRL-A-10.255.0.2 -p tcp --dport 3389 -j ACCEPT\n"+
		"[8:99] -A BRL-A-10.255.0.2 -p udp --dport 1:9 -j ACCEPT\n"+
		":BRL-OUT - [0:0]\n"+
		"[100:1] -A BRL-OUT -p tcp -m owner --socket-exists ! --uid-owner 0 -j REJECT --reject-with tcp-reset\n"+
		"[200:1] -A BRL-OUT -m owner --socket-exists ! --uid-owner 0 -j REJECT\n"+
		"[4000:1] -A BRL-OUT -d 10.255.0.0/24 -j BRL-D-10.255.0\n"+
		"[300:1] -A BRL-OUT -p tcp -j REJECT --reject-with tcp-reset\n"+
		"[400:1] -A BRL-OUT -j REJECT\n"+
		"COMMIT\nEND")
	got, err := f.Counters(t.Context(), device)
	want := Counters{Accepted: map[acl.Port]uint64{rdp: 7, udp(1, 9): 8}, Refused: 1000}
	if err != nil || got.Refused != want.Refused || !maps.Equal(got.Accepted, want.Accepted) {
		t.Errorf("counters are %+v, %v; want %+v", got, err, want)
	}
	if _, err := f.Counters(t.Context(), netip.MustParseAddr("10.255.0.3")); err == nil {
		t.Error("an address that is not in the plan has counters")
	}
}
