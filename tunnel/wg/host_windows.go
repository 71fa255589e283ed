package wg

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/tailscale/wf"
	"golang.org/x/sys/windows"
	"golang.zx2c4.com/wireguard/windows/tunnel/winipcfg"
)

// host is what an adapter changes on this computer through Windows, not through its driver.
type host struct {
	sinceBoot func() time.Duration
	// connect gives the adapter its address, its route and its MTU; disconnect takes them off.
	connect    func(winipcfg.LUID, Config) error
	disconnect func(winipcfg.LUID) error
	// usable reports whether programs can use an address of the adapter yet.
	usable func(winipcfg.LUID, netip.Addr) (bool, error)
	// watch calls gone, maybe more than once, when somebody has removed the adapter.
	watch    func(_ winipcfg.LUID, gone func()) (stop func() error, err error)
	firewall func() (firewall, error)
}

// windowsHost is the real one.
func windowsHost() *host {
	return &host{
		sinceBoot: windows.DurationSinceBoot,
		connect:   connect, disconnect: disconnect, usable: usable, watch: watchAdapter,
		firewall: func() (firewall, error) {
			return wf.New(&wf.Options{Name: "Borealis", Description: "Lets the engine in through the tunnel, and nobody else", Dynamic: true})
		},
	}
}

// connect sets the interface up first, so that the address is never asked about on the wire. The
// name servers that Windows asks, and all other adapters, are left as they are.
func connect(luid winipcfg.LUID, c Config) error {
	for _, family := range []winipcfg.AddressFamily{windows.AF_INET, windows.AF_INET6} {
		err := quiet(luid, family, c.MTU)
		if family == windows.AF_INET6 && errors.Is(err, windows.ERROR_NOT_FOUND) {
			continue // this Windows has no IPv6
		}
		if err != nil {
			return fmt.Errorf("set up the adapter: %w", err)
		}
	}
	// Windows before 1809 does not know how, and a tunnel works without.
	_ = unpublished(luid)
	if err := disconnect(luid); err != nil { // an administrator may have tried something
		return err
	}
	if c.Route.IsValid() {
		if err := luid.AddRoute(c.Route, netip.IPv4Unspecified(), 0); err != nil {
			return fmt.Errorf("set route %s: %w", c.Route, err)
		}
	}
	if err := luid.AddIPAddress(netip.PrefixFrom(c.Address, c.Address.BitLen())); err != nil {
		return fmt.Errorf("set address %s: %w", c.Address, err)
	}
	return nil
}

// unpublished keeps Windows from registering the adapter's address in DNS under the computer's
// name, as it does in a domain: from there nobody could reach it.
func unpublished(luid winipcfg.LUID) error {
	id, err := luid.GUID()
	if err != nil {
		return err
	}
	return winipcfg.SetInterfaceDnsSettings(*id, &winipcfg.DnsInterfaceSettings{
		Version: winipcfg.DnsInterfaceSettingsVersion1, Flags: winipcfg.DnsInterfaceSettingsFlagRegistrationEnabled,
		RegistrationEnabled: 0,
	})
}

// disconnect takes off all addresses, and all routes but those that Windows has for itself.
func disconnect(luid winipcfg.LUID) error {
	errs := []error{luid.FlushIPAddresses(windows.AF_INET)}
	routes, err := winipcfg.GetIPForwardTable2(windows.AF_INET)
	errs = append(errs, err)
	for i := range routes {
		r := &routes[i]
		if r.InterfaceLUID != luid || r.Protocol == winipcfg.RouteProtocolLocal {
			continue
		}
		if err := r.Delete(); !errors.Is(err, windows.ERROR_NOT_FOUND) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// quiet makes an adapter send nothing by itself, and take nothing that is not for its own address.
func quiet(luid winipcfg.LUID, family winipcfg.AddressFamily, mtu int) error {
	row, err := luid.IPInterface(family)
	if err != nil {
		return err
	}
	row.RouterDiscoveryBehavior = winipcfg.RouterDiscoveryDisabled
	row.DadTransmits = 0
	row.ManagedAddressConfigurationSupported = false
	row.OtherStatefulConfigurationSupported = false
	row.AdvertisingEnabled = false
	row.ForwardingEnabled = false
	row.WeakHostSend = false
	row.WeakHostReceive = false
	if family == windows.AF_INET {
		row.NLMTU = uint32(mtu) //nolint:gosec // checked with the configuration
	}
	return row.Set()
}

func usable(luid winipcfg.LUID, address netip.Addr) (bool, error) {
	row, err := luid.IPAddress(address)
	if err != nil {
		return false, err
	}
	return row.DadState == winipcfg.DadStatePreferred, nil
}

func watchAdapter(luid winipcfg.LUID, gone func()) (stop func() error, err error) {
	changes, err := winipcfg.RegisterInterfaceChangeCallback(func(what winipcfg.MibNotificationType, row *winipcfg.MibIPInterfaceRow) {
		if what == winipcfg.MibDeleteInstance && row.InterfaceLUID == luid && row.Family == windows.AF_INET {
			gone()
		}
	})
	if err != nil {
		return nil, err
	}
	return changes.Unregister, nil
}
