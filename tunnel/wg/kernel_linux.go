package wg

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// openKernel makes a WireGuard link in the kernel.
func openKernel(c Config) (_ *device, err error) {
	d := &device{}
	defer func() {
		if err != nil {
			_ = d.undo.run()
		}
	}()
	release, err := holdName(c.Name)
	if err != nil {
		return nil, err
	}
	d.undo.add(release)
	link, err := addKernelLink(c)
	if err != nil {
		return nil, err
	}
	d.undo.add(func() error { return removeLink(link) })
	if err := checkOverlap(c); err != nil {
		return nil, err
	}
	client, err := wgctrl.New()
	if err != nil {
		return nil, fmt.Errorf("open WireGuard control: %w", err)
	}
	d.undo.add(client.Close)
	t := &controlTable{name: c.Name, client: client}
	config := wgtypes.Config{PrivateKey: &c.PrivateKey, ListenPort: &c.ListenPort, ReplacePeers: true}
	if err := t.apply(config); err != nil {
		return nil, fmt.Errorf("configure device: %w", err)
	}
	if err := bringUp(link, c); err != nil {
		return nil, err
	}
	state, err := t.device()
	if err != nil {
		return nil, fmt.Errorf("read UDP port: %w", err)
	}
	d.port = state.ListenPort
	h := &hostLink{index: link.Attrs().Index, config: c}
	w, err := watchLink(h, nil)
	if err != nil {
		return nil, err
	}
	d.undo.add(w.stop)
	d.done, d.changed, d.repair = w.gone, w.changed, h.repair
	d.table, d.net = t, &hostNetwork{name: c.Name, address: c.Address, done: d.done}
	return d, nil
}

// addKernelLink adds the link, in the place of one that an earlier run left behind.
func addKernelLink(c Config) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = c.Name, c.MTU
	err := netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs})
	if errors.Is(err, syscall.EEXIST) {
		if err := removeLeftOver(c.Name); err != nil {
			return nil, err
		}
		err = netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs})
	}
	if err != nil {
		return nil, fmt.Errorf("add WireGuard link: %w", err)
	}
	link, err := netlink.LinkByName(c.Name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("look for link: %w", err), removeLink(&netlink.Wireguard{LinkAttrs: attrs}))
	}
	return link, nil
}
