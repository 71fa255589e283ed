package netfilter

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"borealis/acl"
)

// counters reads the packets that the rules of an address and those of BRL-OUT have counted.
func (f *Firewall) counters(addr netip.Addr) (Counters, error) {
	if f.closed {
		return Counters{}, ErrClosed
	}
	ports, known := f.plan[addr]
	if !known {
		return Counters{}, errors.New("the plan has no such address")
	}
	accepted, err := f.count(addrChain(addr))
	if err != nil {
		return Counters{}, err
	}
	c := Counters{Accepted: make(map[acl.Port]uint64, len(ports))}
	for _, p := range ports {
		c.Accepted[p] = accepted[normal(portRule(p))]
	}
	out, err := f.count(chainOut)
	if err != nil {
		return Counters{}, err
	}
	for _, r := range outRules(f.config, nil) {
		c.Refused += out[normal(r)]
	}
	return c, nil
}

// count returns the packets of each rule of a chain of IPv4, by the rule's normal form.
func (f *Firewall) count(chain string) (map[string]uint64, error) {
	lines, err := f.families[0].list.ListWithCounters("filter", chain)
	if err != nil {
		return nil, err
	}
	counts := make(map[string]uint64, len(lines))
	for _, line := range lines {
		words := split(line)
		at := slices.Index(words, "-c")
		if len(words) < 2 || words[0] != "-A" || at < 0 || at+2 >= len(words) {
			continue // the chain itself
		}
		packets, err := strconv.ParseUint(words[at+1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the counter of %q: %w", line, err)
		}
		counts[normalWords(slices.Delete(words, at, at+3)[2:])] += packets
	}
	return counts, nil
}
