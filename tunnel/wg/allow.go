package wg

import (
	"errors"
	"fmt"
	"net/netip"
)

// Allowed is a range of ports of this end.
type Allowed struct {
	Protocol string // "tcp" or "udp"
	From, To uint16 // both belong to it
}

// Allow makes ports all that anybody reaches on this computer through the tunnel, and from the only
// one who does, from now on until the next time or until the interface closes. Before the first
// time nobody gets in. What was allowed and still is, is not disturbed; packets of a connection to
// a port that is allowed no more are dropped, without a word to either end. Nothing of this
// computer gets out through the tunnel but answers. It is for mode NT only, for in the others the
// caller has other means: there it returns [errors.ErrUnsupported]. When it fails, nothing is
// allowed.
func (i *Interface) Allow(from netip.Addr, ports []Allowed) error {
	if i.allow == nil {
		return fmt.Errorf("allow ports in mode %s: %w", i.mode, errors.ErrUnsupported)
	}
	if err := i.alive(); err != nil {
		return fmt.Errorf("allow ports: %w", err)
	}
	err := checkAllowed(from, ports)
	if err != nil {
		from, ports = netip.Addr{}, nil
	}
	return errors.Join(err, i.allow(from, ports))
}

// checkAllowed says what is wrong with what is to be allowed.
func checkAllowed(from netip.Addr, ports []Allowed) error {
	if !from.Is4() || from.IsUnspecified() {
		return fmt.Errorf("allow ports to %q: want an IPv4 address", from)
	}
	for _, p := range ports {
		if p.Protocol != "tcp" && p.Protocol != "udp" || p.From == 0 || p.From > p.To {
			return fmt.Errorf("allow %s ports %d to %d: want tcp or udp, and two ports in order", p.Protocol, p.From, p.To)
		}
	}
	return nil
}
