package wg

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const listings = 5 // that may be torn by changes meanwhile, before what was found counts

// A hostLink is the link that an interface stands on, as it was asked for.
type hostLink struct {
	index  int
	config Config
	up     func() error // takes the device behind the link up, once the link is; may be nil

	mu   sync.Mutex // one repair at a time
	told string     // what was repaired since the last call of repair
}

// repair makes the link, its address and its route what they were, in the order in which one
// hangs on the other, and says what it did.
func (h *hostLink) repair() (repaired []string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.told != "" {
		repaired, h.told = append(repaired, h.told), ""
	}
	link, err := netlink.LinkByIndex(h.index)
	switch {
	case missing(err):
		return repaired, net.ErrClosed
	case err != nil:
		return repaired, fmt.Errorf("look for the link: %w", err)
	case link.Attrs().Name != h.config.Name:
		return repaired, fmt.Errorf("somebody has renamed the link %s to %s", h.config.Name, link.Attrs().Name)
	}
	for _, step := range []func(netlink.Link) (string, error){h.setMTU, h.setAddress, h.takeUp, h.setRoute} {
		what, err := step(link)
		if err != nil {
			return repaired, err
		}
		if what != "" {
			repaired = append(repaired, what)
		}
	}
	return repaired, nil
}

func (h *hostLink) setMTU(link netlink.Link) (string, error) {
	was := link.Attrs().MTU
	if was == h.config.MTU {
		return "", nil
	}
	if err := netlink.LinkSetMTU(link, h.config.MTU); err != nil {
		return "", fmt.Errorf("set MTU %d: %w", h.config.MTU, err)
	}
	return fmt.Sprintf("The MTU of %s was %d: it is %d again.", h.config.Name, was, h.config.MTU), nil
}

func (h *hostLink) setAddress(link netlink.Link) (string, error) {
	have, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_V4) })
	if err != nil {
		return "", fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range have {
		ip, _ := netip.AddrFromSlice(a.IP.To4())
		if bits, _ := a.Mask.Size(); ip == h.config.Address && bits == ip.BitLen() {
			return "", nil
		}
	}
	if err := setAddress(link, h.config); err != nil {
		return "", err
	}
	return fmt.Sprintf("The address %s of %s was removed: it is there again.", h.config.Address, h.config.Name), nil
}

// takeUp takes up the link and, in any case, the device behind it: that has not come up with the
// link when its UDP port was taken meanwhile.
func (h *hostLink) takeUp(link netlink.Link) (what string, err error) {
	if link.Attrs().Flags&net.FlagUp == 0 {
		if err := netlink.LinkSetUp(link); err != nil {
			return "", fmt.Errorf("take link up (UDP port %d): %w", h.config.ListenPort, err)
		}
		what = fmt.Sprintf("The interface %s was set down: it is up again.", h.config.Name)
	}
	if h.up == nil {
		return what, nil
	}
	if err := h.up(); err != nil {
		return "", fmt.Errorf("take WireGuard up (UDP port %d): %w", h.config.ListenPort, err)
	}
	return what, nil
}

func (h *hostLink) setRoute(link netlink.Link) (string, error) {
	if there, err := h.hasRoute(); there || err != nil {
		return "", err
	}
	if err := setRoute(link, h.config); err != nil {
		return "", err
	}
	return fmt.Sprintf("The route %s via %s was removed or replaced: it is there again.", h.config.Route, h.config.Name), nil
}

// hasRoute reports whether there is nothing to be routed or the route is there.
func (h *hostLink) hasRoute() (bool, error) {
	if !h.config.Route.IsValid() {
		return true, nil
	}
	want := route(h.index, h.config)
	have, err := whole(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V4, want, netlink.RT_FILTER_OIF)
	})
	if err != nil {
		return false, fmt.Errorf("list routes: %w", err)
	}
	for _, r := range have {
		if r.Dst != nil && r.Dst.String() == want.Dst.String() && r.Src.Equal(want.Src) &&
			r.Priority == 0 && r.Type == unix.RTN_UNICAST && r.Scope == want.Scope && r.Gw == nil {
			return true, nil
		}
	}
	return false, nil
}

// restoreRoute sets the route that the link lost when it was down, for those who do not call
// repair; those who do are told.
func (h *hostLink) restoreRoute() {
	h.mu.Lock()
	defer h.mu.Unlock()
	link, err := netlink.LinkByIndex(h.index)
	if err == nil {
		var what string
		if what, err = h.setRoute(link); what != "" {
			h.told = fmt.Sprintf("The interface %s was down: its route %s is there again.", h.config.Name, h.config.Route)
		}
	}
	if err != nil && !missing(err) {
		h.config.Logger.Warn("cannot set the route again", "err", err)
	}
}

// whole lists until nobody has changed anything meanwhile.
func whole[T any](list func() ([]T, error)) (all []T, err error) {
	for range listings {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return all, nil
}
