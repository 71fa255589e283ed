package inventory

import (
	"net"
	"net/netip"
	"slices"

	"borealis/agent/wire"
)

// A card is a network adapter as the system lists it.
type card struct {
	net.Interface
	addresses []netip.Prefix
	hardware  bool // It is no creation of a program, such as a container's.
}

// adapters are the ones that people look for.
func adapters() []wire.Adapter {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	cards := make([]card, 0, len(all))
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		cards = append(cards, card{i, addresses(i), hardware(i)})
	}
	return choose(cards)
}

// choose keeps the adapters that have an address that others reach, and after them those
// that could get one. The ends of cables to containers come and go, and are neither.
func choose(cards []card) []wire.Adapter {
	reached := func(c card) bool { return slices.ContainsFunc(c.addresses, routable) }
	cards = slices.DeleteFunc(cards, func(c card) bool { return !reached(c) && !c.hardware })
	slices.SortStableFunc(cards, func(a, b card) int {
		switch {
		case reached(a) == reached(b):
			return 0
		case reached(a):
			return -1
		}
		return 1
	})
	found := make([]wire.Adapter, 0, len(cards))
	for _, c := range cards {
		a := wire.Adapter{Name: c.Name, MAC: c.HardwareAddr.String()}
		for _, p := range c.addresses {
			a.Addresses = append(a.Addresses, p.String())
		}
		found = append(found, a)
	}
	return found
}

// addresses are those of an adapter, in the order of the system.
func addresses(i net.Interface) []netip.Prefix {
	all, err := i.Addrs()
	if err != nil {
		return nil
	}
	var found []netip.Prefix
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			found = append(found, p)
		}
	}
	return found
}

// routable reports whether an address is reached from elsewhere than the same cable.
func routable(p netip.Prefix) bool { return p.Addr().IsGlobalUnicast() }
