package doctor

import (
	"context"
	"errors"
	"os"
	"strings"

	"borealis/acl/netfilter"
	"borealis/agent/checkup"
)

const (
	wantedFiles  = 16384 // that the engine may have open, at least
	filesReserve = 512   // for all that is not an agent
	goodMTU      = 1480  // of the way out: a tunnel's packet of 1420 bytes and what is around it, over IPv4
)

// firewall looks for the programs that change the packet filter.
func (d *doctor) firewall(ctx context.Context) checkup.Finding {
	const name = "firewall"
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	backend, err := netfilter.Backend(ctx)
	switch {
	case errors.Is(err, netfilter.ErrNoIPTables):
		return unwell(name, "install the package iptables; only with --link netstack it is not needed", "%w", err)
	case errors.Is(err, netfilter.ErrLegacy):
		return unwell(name, "choose the nf_tables backend: update-alternatives --set iptables /usr/sbin/iptables-nft, and the same for ip6tables", "%w", err)
	case err != nil:
		return judged(name, err, "")
	}
	if d.held && os.Geteuid() == 0 {
		if strings.Contains(Rules(ctx), "-j BRL-OUT") {
			return checkup.Well(name, "%s; the engine's rules are there", backend)
		}
		return note(name, "this is as it should be with --link netstack; else the engine's log says why: look for \"firewall\"", "%s; the engine has no rules in it", backend)
	}
	return checkup.Well(name, "%s", backend)
}

// forwarding notes whether this host forwards packets, which Borealis never needs.
func (d *doctor) forwarding(context.Context) checkup.Finding {
	const name = "forwarding"
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil {
		return note(name, "", "not known")
	}
	if strings.TrimSpace(string(text)) == "0" {
		return checkup.Well(name, "off; Borealis does not need it")
	}
	return checkup.Well(name, "on, for something else: Borealis forwards nothing, and its rules drop what would be forwarded to or from a tunnel")
}
