package netfilter

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"

	"borealis/acl"
)

// fewEdits is up to how many single edits of a chain are cheaper than writing it anew.
const fewEdits = 8

// A batch collects changes for iptables-restore, each a few lines about one chain, in steps. In
// this order chains are there before a rule leads to them, and no rule does when they go.
type batch [5][]string

// Steps of a batch.
const (
	fresh   = iota // chains that are not there yet
	changed        // chains that are
	jumping        // chains of iptables itself
	emptied        // chains that are to go
	gone           // the same
)

// maxPart is how long a part may be that the kernel takes from a process without power over the
// whole host: it limits how much that may send at once.
const maxPart = 32 << 10

// text is the whole batch, or nothing when there is nothing to do.
func (b *batch) text() string {
	parts := b.parts(math.MaxInt)
	if len(parts) == 0 {
		return ""
	}
	return parts[0]
}

// parts is the batch in several, each no longer than most if that can be. A part declares all its
// chains first: iptables-nft-restore takes half as long again when a declaration follows a rule.
func (b *batch) parts(most int) []string {
	var parts []string
	var chains, rules strings.Builder
	end := func() {
		if chains.Len()+rules.Len() > 0 {
			parts = append(parts, "*filter\n"+chains.String()+rules.String()+"COMMIT\n")
			chains.Reset()
			rules.Reset()
		}
	}
	for _, step := range b {
		for _, lines := range step {
			if chains.Len()+rules.Len()+len(lines) > most {
				end()
			}
			if strings.HasPrefix(lines, ":") {
				declaration, rest, _ := strings.Cut(lines, "\n")
				chains.WriteString(declaration + "\n")
				lines = rest
			}
			rules.WriteString(lines)
		}
	}
	end()
	return parts
}

// write makes a chain hold these rules and nothing else, whatever it held before.
func (b *batch) write(step int, chain string, rules []string) {
	var lines strings.Builder
	fmt.Fprintf(&lines, ":%s - [0:0]\n", chain)
	for _, r := range rules {
		fmt.Fprintf(&lines, "-A %s %s\n", chain, r)
	}
	b[step] = append(b[step], lines.String())
}

// drop removes a chain with what is in it.
func (b *batch) drop(chain string) {
	b[emptied] = append(b[emptied], fmt.Sprintf(":%s - [0:0]\n", chain))
	b[gone] = append(b[gone], fmt.Sprintf("-X %s\n", chain))
}

// edit changes a chain that holds the rules in old, rule by rule, so that the others keep their
// counters. Rules that are in both must be in the same order there.
func (b *batch) edit(chain string, old, rules []string) {
	was, is := asSet(old), asSet(rules)
	gone, added := without(old, is), without(rules, was)
	if len(gone)+len(added) > fewEdits {
		b.write(changed, chain, rules)
		return
	}
	var lines strings.Builder
	for _, r := range gone {
		fmt.Fprintf(&lines, "-D %s %s\n", chain, r)
	}
	now := len(old) - len(gone)
	for n, r := range rules {
		switch {
		case was[r]:
			continue
		case n == now: // at the end, where iptables need not read what is before
			fmt.Fprintf(&lines, "-A %s %s\n", chain, r)
		default:
			fmt.Fprintf(&lines, "-I %s %d %s\n", chain, n+1, r)
		}
		now++
	}
	if lines.Len() > 0 {
		b[changed] = append(b[changed], lines.String())
	}
}

func asSet(rules []string) map[string]bool {
	s := make(map[string]bool, len(rules))
	for _, r := range rules {
		s[r] = true
	}
	return s
}

func without(rules []string, leave map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(rules), func(r string) bool { return leave[r] })
}

// change is the batch that leads from one plan to another and touches nothing else.
func change(c Config, from, to acl.Plan) *batch {
	var b batch
	touched := make(map[netip.Prefix]bool) // networks that gain or lose an address
	for _, addr := range differing(from, to) {
		old, was := from[addr]
		ports, is := to[addr]
		switch {
		case !was:
			b.write(fresh, addrChain(addr), portRules(ports))
		case !is:
			b.drop(addrChain(addr))
		default:
			b.edit(addrChain(addr), portRules(old), portRules(ports))
			continue
		}
		touched[netOf(addr)] = true
	}
	if len(touched) > 0 {
		b.dispatch(c, from, to, touched)
	}
	return &b
}

// differing returns the addresses that two plans do not agree about, in order.
func differing(from, to acl.Plan) []netip.Addr {
	var addrs []netip.Addr
	for addr, ports := range to {
		if old, was := from[addr]; !was || !slices.Equal(old, ports) {
			addrs = append(addrs, addr)
		}
	}
	for addr := range from {
		if _, is := to[addr]; !is {
			addrs = append(addrs, addr)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs
}

// dispatch changes the way to the addresses of the networks that were touched.
func (b *batch) dispatch(c Config, from, to acl.Plan, touched map[netip.Prefix]bool) {
	old, now := group(from, touched), group(to, touched)
	another := false // whether BRL-OUT knows other networks than before
	for _, net := range sortedKeys(touched) {
		before, after := old[net], now[net]
		switch {
		case len(before) == 0:
			b.write(fresh, netChain(net), netRules(after))
		case len(after) == 0:
			b.drop(netChain(net))
		default:
			b.edit(netChain(net), netRules(before), netRules(after))
			continue
		}
		another = true
	}
	if another {
		b.edit(chainOut, outRules(c, sortedKeys(group(from, nil))), outRules(c, sortedKeys(group(to, nil))))
	}
}

// mend is the batch that makes have what it should be. What is right already stays untouched.
func mend(have table, want rules) *batch {
	var b batch
	for _, chain := range sorted(want.chains) {
		rules, there := have[chain]
		switch {
		case !there:
			b.write(fresh, chain, want.chains[chain])
		case !same(rules, want.chains[chain]):
			b.write(changed, chain, want.chains[chain])
		}
	}
	for _, chain := range sorted(have) {
		if _, wanted := want.chains[chain]; ours(chain) && !wanted {
			b.drop(chain)
		} else if !ours(chain) {
			b.jump(have, chain, want)
		}
	}
	for _, chain := range sorted(want.jumps) {
		if _, there := have[chain]; !there {
			b.jump(have, chain, want)
		}
	}
	return &b
}

// jump makes a chain that is not ours begin with the wanted jumps and lead to us nowhere else.
func (b *batch) jump(have table, chain string, want rules) {
	if have.jumpsRight(chain, want) {
		return
	}
	var lines strings.Builder
	for _, r := range have[chain] {
		if leadsToUs(r) {
			fmt.Fprintf(&lines, "-D %s %s\n", chain, r)
		}
	}
	for n, r := range want.jumps[chain] {
		fmt.Fprintf(&lines, "-I %s %d %s\n", chain, n+1, r)
	}
	b[jumping] = append(b[jumping], lines.String())
}

func sorted[M ~map[string]V, V any](m M) []string { return slices.Sorted(maps.Keys(m)) }
