package netfilter

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"borealis/acl"
)

// prefix begins the name of every chain of ours.
const prefix = "BRL-"

// Chains of ours. Those of a plan are named after networks and addresses.
const (
	chainIn  = prefix + "IN"
	chainOut = prefix + "OUT"
	chainFwd = prefix + "FWD"
	chainSrc = prefix + "SRC"
)

// The ends of chains, written as iptables-save writes them, like all rules here.
const (
	drop      = "-j DROP"
	resetTCP  = "-p tcp -j REJECT --reject-with tcp-reset"
	refuse    = "-j REJECT --reject-with icmp-port-unreachable"
	replies   = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
	fromLocal = "-i lo -j RETURN"
)

// rules is what one family's table is to hold of ours.
type rules struct {
	chains map[string][]string // whole chains
	jumps  map[string][]string // what the chains of iptables itself begin with
}

// rules6 lets nothing of IPv6 through the interface.
func rules6(c Config) rules {
	return rules{
		chains: map[string][]string{chainIn: {drop}, chainOut: {drop}, chainFwd: {drop}},
		jumps: map[string][]string{
			"INPUT":   {jump("-i "+c.Interface, chainIn)},
			"FORWARD": {jump("-i "+c.Interface, chainFwd), jump("-o "+c.Interface, chainFwd)},
			"OUTPUT":  {jump("-o "+c.Interface, chainOut)},
		},
	}
}

// rules4 is a plan as rules. The same plan always gives the same rules in the same order.
func rules4(c Config, plan acl.Plan) rules {
	nets := group(plan, nil)
	r := rules6(c)
	// Refusals of the host itself come by lo, with the address of the device that they speak for.
	r.jumps["INPUT"] = append(r.jumps["INPUT"], jump(fmt.Sprintf("-s %s ! -i %s", c.Pool, c.Interface), chainSrc))
	r.chains[chainSrc] = []string{fromLocal, drop}
	r.chains[chainIn] = []string{replies, drop}
	r.chains[chainOut] = outRules(c, sortedKeys(nets))
	for net, addrs := range nets {
		r.chains[netChain(net)] = netRules(addrs)
		for _, addr := range addrs {
			r.chains[addrChain(addr)] = portRules(plan[addr])
		}
	}
	return r
}

// sealed is what of want lets nothing through to any device. It drops instead of refusing, so that
// connections that are open outlast it.
func sealed(c Config, want rules) rules {
	out := outRules(c, nil)
	r := rules{jumps: want.jumps, chains: map[string][]string{chainOut: append(out[:len(out)-2], drop)}}
	for _, chain := range []string{chainIn, chainFwd, chainSrc} {
		if rules, there := want.chains[chain]; there {
			r.chains[chain] = rules
		}
	}
	return r
}

// outRules is what every packet into a tunnel goes through.
func outRules(c Config, nets []netip.Prefix) []string {
	var out []string
	if !c.HostUsers {
		// Packets without a socket are the kernel's own about flows of the owner: its last ones
		// after a close. Everybody else's first packet has a socket.
		guard := fmt.Sprintf("-m owner --socket-exists ! --uid-owner %d ", c.Owner)
		out = append(out, "-p tcp "+guard+"-j REJECT --reject-with tcp-reset", guard+refuse)
	}
	for _, net := range nets {
		out = append(out, jump("-d "+net.String(), netChain(net)))
	}
	return append(out, resetTCP, refuse)
}

// netRules leads from a network to its addresses.
func netRules(addrs []netip.Addr) []string {
	out := make([]string, 0, len(addrs))
	for _, addr := range addrs {
		out = append(out, jump("-d "+addr.String()+"/32", addrChain(addr)))
	}
	return out
}

// portRules accepts the ports of one address.
func portRules(ports []acl.Port) []string {
	sorted := slices.Clone(ports)
	slices.SortFunc(sorted, comparePorts)
	out := make([]string, 0, len(sorted))
	for _, p := range sorted {
		out = append(out, portRule(p))
	}
	return slices.Compact(out)
}

func portRule(p acl.Port) string {
	ports := fmt.Sprint(p.From)
	if p.From != p.To {
		ports = fmt.Sprintf("%d:%d", p.From, p.To)
	}
	return "-p " + p.Protocol + " -m " + p.Protocol + " --dport " + ports + " -j ACCEPT"
}

func comparePorts(a, b acl.Port) int {
	return cmp.Or(strings.Compare(a.Protocol, b.Protocol), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
}

func jump(what, chain string) string { return what + " -j " + chain }

// netOf is the network of 256 addresses that addr is in.
func netOf(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, 24).Masked() }

// netChain names the chain of a network by its first three octets.
func netChain(net netip.Prefix) string {
	octets := net.Addr().As4()
	return fmt.Sprintf(prefix+"D-%d.%d.%d", octets[0], octets[1], octets[2])
}

func addrChain(addr netip.Addr) string { return prefix + "A-" + addr.String() }

// group sorts the addresses of a plan into their networks; with only, into those alone.
func group(plan acl.Plan, only map[netip.Prefix]bool) map[netip.Prefix][]netip.Addr {
	nets := make(map[netip.Prefix][]netip.Addr)
	for addr := range plan {
		if net := netOf(addr); only == nil || only[net] {
			nets[net] = append(nets[net], addr)
		}
	}
	for _, addrs := range nets {
		slices.SortFunc(addrs, netip.Addr.Compare)
	}
	return nets
}

func sortedKeys[V any](nets map[netip.Prefix]V) []netip.Prefix {
	keys := make([]netip.Prefix, 0, len(nets))
	for net := range nets {
		keys = append(keys, net)
	}
	slices.SortFunc(keys, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return keys
}

// checked returns a copy of plan that is fit for rules, or what is wrong with it.
func checked(c Config, plan acl.Plan) (acl.Plan, error) {
	plan = plan.Clone()
	for addr, ports := range plan {
		if !addr.Is4() || !c.Pool.Contains(addr) {
			return nil, fmt.Errorf("address %s is not in the pool %s", addr, c.Pool)
		}
		for _, p := range ports {
			if (p.Protocol != acl.TCP && p.Protocol != acl.UDP) || p.From == 0 || p.From > p.To {
				return nil, fmt.Errorf("port %s of %s cannot be", p, addr)
			}
		}
	}
	return plan, nil
}

// checked fills in what is missing from a configuration, or says what is wrong with it.
func (c Config) checked() (Config, error) {
	c.Interface = cmp.Or(c.Interface, "borealis0")
	switch {
	case len(c.Interface) > 15 || strings.ContainsFunc(c.Interface, notInName):
		return c, fmt.Errorf("%q cannot name a network interface", c.Interface)
	case !c.Pool.IsValid() || !c.Pool.Addr().Is4():
		return c, errors.New("the pool must be a network of IPv4")
	case c.Owner < 0:
		return c, fmt.Errorf("there is no user %d", c.Owner)
	}
	c.Pool = c.Pool.Masked()
	return c, nil
}

// notInName reports what a name may not hold: iptables takes a last + for any ending.
func notInName(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`+!/"'\:`, r)
}
