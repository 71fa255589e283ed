package wg

import (
	"context"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/conn"
	wgdevice "golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl"
)

const tunPath = "/dev/net/tun"

// openTUN runs WireGuard in this process behind a TUN device of the host. Its peers are set
// through the control socket that wg(8) uses too.
func openTUN(ctx context.Context, c Config) (_ *device, err error) {
	d := &device{done: make(chan struct{})}
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
	link, dev, err := addTUN(c, d)
	if err != nil {
		return nil, err
	}
	if err := checkOverlap(c); err != nil {
		return nil, err
	}
	inside := &ipcTable{dev: dev}
	if d.port, err = inside.start(c); err != nil {
		return nil, err
	}
	socket, err := listenControl(ctx, c.Name, dev)
	if err != nil {
		return nil, err
	}
	d.undo.add(socket.close)
	client, err := wgctrl.New()
	if err != nil {
		return nil, fmt.Errorf("open WireGuard control: %w", err)
	}
	d.undo.add(client.Close)
	t := &controlTable{name: c.Name, client: client, repair: socket.renew, inside: inside}
	if err := bringUp(link, c); err != nil {
		return nil, err
	}
	h := &hostLink{index: link.Attrs().Index, config: c, up: dev.Up}
	w, err := watchLink(h, dev.Close) // a link that was moved away is lost as if it were deleted
	if err != nil {
		return nil, err
	}
	d.undo.add(w.stop)
	d.changed, d.repair = w.changed, h.repair
	d.table, d.net = t, &hostNetwork{name: c.Name, address: c.Address, done: d.done}
	return d, nil
}

// addTUN makes the TUN device and the WireGuard device that reads it, and leaves to d how to
// take both back.
func addTUN(c Config, d *device) (netlink.Link, *wgdevice.Device, error) {
	// CreateTUN would leak a descriptor when it fails and join a device that exists.
	f, err := os.OpenFile(tunPath, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errNoTUN, err)
	}
	_ = f.Close()
	if err := removeLeftOver(c.Name); err != nil {
		return nil, nil, err
	}
	t, err := tun.CreateTUN(c.Name, c.MTU)
	if err != nil {
		return nil, nil, fmt.Errorf("make TUN device: %w", err)
	}
	dev := wgdevice.NewDevice(t, conn.NewDefaultBind(), deviceLogger(c.Logger))
	d.undo.add(func() error { dev.Close(); <-d.done; return nil })
	go func() { <-dev.Wait(); close(d.done) }()
	link, err := netlink.LinkByName(c.Name)
	if err != nil {
		return nil, nil, fmt.Errorf("look for TUN device: %w", err)
	}
	// Closing the device removes the link too, but only after its readers have let go.
	d.undo.add(func() error { return removeLink(link) })
	return link, dev, nil
}
