package netfilter

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// table is what a family's table filter holds: the rules of its chains as iptables-save writes
// them, without the name of the chain.
type table map[string][]string

// parseTable reads the output of iptables-save.
func parseTable(text []byte) (table, error) {
	t := make(table)
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, ":"):
			chain, _, _ := strings.Cut(line[1:], " ")
			t[chain] = nil
		case strings.HasPrefix(line, "-A "):
			chain, rule, _ := strings.Cut(line[len("-A "):], " ")
			if _, declared := t[chain]; !declared {
				return nil, fmt.Errorf("iptables-save: rule of an unknown chain: %.100q", line)
			}
			t[chain] = append(t[chain], rule)
		case strings.HasPrefix(line, "#") && strings.Contains(line, "incompatible"):
			return nil, fmt.Errorf("iptables cannot read the table filter (%.200s); "+
				"keep rules that only nft understands in a table of their own", strings.TrimLeft(line, "# "))
		}
	}
	return t, lines.Err()
}

// ours reports whether a chain belongs to this package.
func ours(chain string) bool { return strings.HasPrefix(chain, prefix) }

// leadsToUs reports whether a rule jumps to a chain of ours.
func leadsToUs(rule string) bool { return ours(target(rule)) }

// target names the chain or verdict that a rule leads to.
func target(rule string) string {
	if !strings.Contains(rule, "-j ") && !strings.Contains(rule, "-g ") {
		return ""
	}
	words := split(rule)
	for n, w := range words[:max(len(words)-1, 0)] {
		if w == "-j" || w == "-g" {
			return words[n+1]
		}
	}
	return ""
}

// jumpsRight reports whether a chain that is not ours begins with the wanted jumps and has no
// other that leads to us.
func (t table) jumpsRight(chain string, want rules) bool {
	rules, jumps := t[chain], want.jumps[chain]
	return len(rules) >= len(jumps) && same(rules[:len(jumps)], jumps) &&
		!slices.ContainsFunc(rules[len(jumps):], leadsToUs)
}

// only returns t without the chains of ours that want does not name.
func (t table) only(want rules) table {
	t = maps.Clone(t)
	maps.DeleteFunc(t, func(chain string, _ []string) bool {
		_, wanted := want.chains[chain]
		return ours(chain) && !wanted
	})
	return t
}

// with returns t as it is once what is wanted was added.
func (t table) with(want rules) table {
	t = maps.Clone(t)
	maps.Copy(t, want.chains)
	for chain, jumps := range want.jumps {
		t[chain] = slices.Concat(jumps, slices.DeleteFunc(slices.Clone(t[chain]), leadsToUs))
	}
	return t
}

// drift says what of a table is not as wanted, one clause each.
func (t table) drift(want rules) []string {
	var wrong []string
	for _, chain := range sorted(want.jumps) {
		if !t.jumpsRight(chain, want) {
			wrong = append(wrong, t.jumpFault(chain, want.jumps[chain]))
		}
	}
	for _, chain := range sorted(want.chains) {
		rules, there := t[chain]
		switch {
		case !there:
			wrong = append(wrong, "chain "+chain+" was gone")
		case !same(rules, want.chains[chain]):
			wrong = append(wrong, ruleFault(chain, rules, want.chains[chain]))
		}
	}
	for _, chain := range sorted(t) {
		if _, wanted := want.chains[chain]; ours(chain) && !wanted {
			wrong = append(wrong, "chain "+chain+" should not have been there")
		} else if _, base := want.jumps[chain]; !ours(chain) && !base && !t.jumpsRight(chain, want) {
			wrong = append(wrong, "a rule in "+chain+" led into our chains")
		}
	}
	return wrong
}

// jumpFault says what is wrong with the jumps of a chain.
func (t table) jumpFault(chain string, want []string) string {
	var have []string
	for _, r := range t[chain] {
		if leadsToUs(r) {
			have = append(have, normal(r))
		}
	}
	for _, w := range want {
		if !slices.Contains(have, normal(w)) {
			return fmt.Sprintf("the jump from %s to %s was gone", chain, target(w))
		}
	}
	if len(have) > len(want) {
		return "there were too many jumps from " + chain
	}
	return "rules stood before our jump in " + chain
}

// ruleFault says how the rules of a chain differ.
func ruleFault(chain string, have, want []string) string {
	switch {
	case len(have) == 0:
		return "chain " + chain + " was empty"
	case len(have) < len(want):
		return "a rule of chain " + chain + " was gone"
	case len(have) > len(want):
		return "chain " + chain + " had a rule too many"
	}
	return "chain " + chain + " had other rules"
}

// same reports whether two lists of rules mean the same.
func same(a, b []string) bool {
	return slices.EqualFunc(a, b, func(x, y string) bool { return x == y || normal(x) == normal(y) })
}

// implied are matches that name nothing by themselves: what they match is in options of their own.
var implied = []string{"tcp", "udp", "owner", "conntrack"}

// normal writes a rule so that rules of the same meaning read the same, however a version of
// iptables writes them. It never makes two rules equal that mean different things.
func normal(rule string) string { return normalWords(split(rule)) }

func normalWords(words []string) string {
	var options []string
	for _, o := range byOption(words) {
		switch name, value := o[0], o[1:]; {
		case name == "-m" && len(value) == 1 && slices.Contains(implied, value[0]):
			continue
		case (name == "-s" || name == "-d") && len(value) == 1 && !strings.Contains(value[0], "/"):
			o = []string{name, value[0] + "/32"}
		case name == "--ctstate" && len(value) == 1:
			states := strings.Split(value[0], ",")
			slices.Sort(states)
			o = []string{name, strings.Join(states, ",")}
		case name == "--dport" && len(value) == 1:
			if first, last, ok := strings.Cut(value[0], ":"); ok && first == last {
				o = []string{name, first}
			}
		}
		options = append(options, fmt.Sprintf("%q", o))
	}
	if slices.Contains(options, `["-j" "REJECT"]`) && !slices.Contains(words, "--reject-with") {
		options = append(options, `["--reject-with" "icmp-port-unreachable"]`)
	}
	slices.Sort(options)
	return strings.Join(options, " ")
}
