package wg

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
)

// noAddress is IN6_ADDR_GEN_MODE_NONE: the kernel gives the link no IPv6 address of its own.
const noAddress = 1

// holdName makes sure that no other process of this network namespace works with the same link,
// so that a link found under this name is what an earlier, dead one left behind.
func holdName(name string) (release func() error, err error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@borealis-link-" + name, Net: "unix"})
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: another process runs %s", ErrForeignLink, name)
	}
	if err != nil {
		return nil, fmt.Errorf("hold name %s: %w", name, err)
	}
	return l.Close, nil
}

// removeLeftOver deletes a WireGuard link of that name; a link of any other kind is an error.
func removeLeftOver(name string) error {
	link, err := netlink.LinkByName(name)
	if missing(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for link %s: %w", name, err)
	}
	if link.Type() != "wireguard" {
		return fmt.Errorf("%w: %s is of type %s; choose another name or delete it", ErrForeignLink, name, link.Type())
	}
	if err := removeLink(link); err != nil {
		return fmt.Errorf("delete the left-over link %s: %w", name, err)
	}
	return nil
}

// missing reports whether err says that there is no such link.
func missing(err error) bool {
	_, ok := errors.AsType[netlink.LinkNotFoundError](err)
	return ok
}

// removeLink deletes a link, and with it its address and its routes. One that is gone is no error.
func removeLink(link netlink.Link) error {
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, syscall.ENODEV) {
		return fmt.Errorf("delete link %s: %w", link.Attrs().Name, err)
	}
	return nil
}

// checkOverlap refuses a virtual network that the host already routes elsewhere. Default routes,
// also those cut in two halves, go everywhere and do not count.
func checkOverlap(c Config) error {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		ip, _ := netip.AddrFromSlice(r.Dst.IP.To4())
		bits, _ := r.Dst.Mask.Size()
		if bits <= 1 || !ip.IsValid() {
			continue
		}
		dst := netip.PrefixFrom(ip, bits)
		if !dst.Contains(c.Address) && !dst.Overlaps(c.Route) {
			continue
		}
		name := fmt.Sprintf("link %d", r.LinkIndex)
		if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			name = link.Attrs().Name
		}
		return fmt.Errorf("%w: %s goes to %s, and %s via %s is there already; choose another network",
			ErrOverlap, c.Route, c.Name, dst, name)
	}
	return nil
}

// bringUp gives a link its address, takes it up and routes to it. Deleting the link undoes it.
func bringUp(link netlink.Link, c Config) error {
	// Without this the kernel sends IPv6 router solicitations into the tunnel.
	if err := netlink.LinkSetIP6AddrGenMode(link, noAddress); err != nil && hasIPv6() {
		return fmt.Errorf("turn IPv6 addresses off: %w", err)
	}
	if err := setAddress(link, c); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("take link up (UDP port %d): %w", c.ListenPort, err)
	}
	return setRoute(link, c)
}

// setAddress gives a link its address.
func setAddress(link netlink.Link, c Config) error {
	address := &netlink.Addr{IPNet: &net.IPNet{IP: c.Address.AsSlice(), Mask: net.CIDRMask(32, 32)}}
	if err := netlink.AddrReplace(link, address); err != nil {
		return fmt.Errorf("set address %s: %w", c.Address, err)
	}
	return nil
}

// setRoute routes to the link what Config says. A link that goes down loses its route.
func setRoute(link netlink.Link, c Config) error {
	if !c.Route.IsValid() {
		return nil
	}
	if err := netlink.RouteReplace(route(link.Attrs().Index, c)); err != nil {
		return fmt.Errorf("set route %s: %w", c.Route, err)
	}
	return nil
}

// route is the one that Config says, to a link.
func route(link int, c Config) *netlink.Route {
	return &netlink.Route{
		LinkIndex: link,
		Scope:     netlink.SCOPE_LINK,
		Src:       c.Address.AsSlice(),
		Dst:       &net.IPNet{IP: c.Route.Addr().AsSlice(), Mask: net.CIDRMask(c.Route.Bits(), 32)},
	}
}

// hasIPv6 reports whether the kernel speaks IPv6 at all.
func hasIPv6() bool {
	_, err := os.Stat("/proc/net/if_inet6")
	return err == nil
}
