package wg

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/windows"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"golang.zx2c4.com/wireguard/windows/driver"
)

const (
	usableWithin = 5 * time.Second // for Windows to offer the adapter's address
	fileTimeUnix = 116444736000000000
)

// openNT opens an interface on the adapter: it is up when openNT returns, and has nobody to talk
// to. Its address is there from then on, for those who want to listen before the first peer comes.
func openNT(ctx context.Context, c Config) (_ *device, err error) {
	a := c.Adapter
	d := &device{done: make(chan struct{}), net: &hostNetwork{address: c.Address}, table: &ntTable{a}}
	if err := a.take(); err != nil {
		return nil, err
	}
	d.undo.add(a.release)
	defer func() {
		if err != nil {
			_ = d.undo.run()
		}
	}()
	if err := a.start(ctx, c); err != nil {
		return nil, err
	}
	d.undo.add(a.rest)
	if err := a.host.connect(a.luid, c); err != nil {
		return nil, err
	}
	gone := sync.OnceFunc(func() { close(d.done) })
	stop, err := a.host.watch(a.luid, gone)
	if err != nil {
		return nil, fmt.Errorf("watch the adapter: %w", err)
	}
	d.undo.add(func() error { gone(); return stop() })
	if d.port, err = a.up(ctx, c.Address); err != nil {
		return nil, err
	}
	filter := a.filter
	d.allow = filter.allow
	d.undo.add(func() error { return filter.allow(netip.Addr{}, nil) })
	return d, nil
}

// start gives the adapter its key. One that does not take it was removed underneath, or its driver
// replaced: it is made again, once.
func (a *Adapter) start(ctx context.Context, c Config) error {
	err := a.configure(c)
	if err == nil {
		return nil
	}
	a.log.Warn("adapter is made again", "err", err)
	a.mu.Lock()
	_ = a.destroyLocked() // it is gone, in all likelihood
	a.mu.Unlock()
	if err := a.create(ctx); err != nil {
		return err
	}
	return a.configure(c)
}

// configure gives the adapter its key and its UDP port, and no peers.
func (a *Adapter) configure(c Config) error {
	var b driver.ConfigBuilder
	b.AppendInterface(&driver.Interface{
		Flags:      driver.InterfaceHasPrivateKey | driver.InterfaceHasListenPort | driver.InterfaceReplacePeers,
		PrivateKey: c.PrivateKey,
		ListenPort: uint16(c.ListenPort), //nolint:gosec // checked with the configuration
	})
	return a.with(func(h *driver.Adapter) error {
		return wrapped("configure the adapter", h.SetConfiguration(b.Interface()))
	})
}

// up takes the adapter up, waits until Windows offers its address, and returns the UDP port.
func (a *Adapter) up(ctx context.Context, address netip.Addr) (port int, err error) {
	err = a.with(func(h *driver.Adapter) error { return h.SetAdapterState(driver.AdapterStateUp) })
	if err != nil {
		return 0, fmt.Errorf("take the adapter up: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, usableWithin)
	defer cancel()
	again := time.NewTicker(lastPoll)
	defer again.Stop()
	for {
		usable, err := a.host.usable(a.luid, address)
		if usable {
			break
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("wait until Windows offers address %s: %w", address, errors.Join(context.Cause(ctx), err))
		}
	}
	err = a.with(func(h *driver.Adapter) error {
		state, err := h.Configuration()
		if err == nil {
			port = int(state.ListenPort)
		}
		return err
	})
	return port, wrapped("read the UDP port", err)
}

// ntTable is the peer table of an adapter.
type ntTable struct {
	adapter *Adapter
}

// set implements table.
func (t *ntTable) set(replace bool, changes []change) error {
	var b driver.ConfigBuilder
	head := driver.Interface{PeerCount: uint32(len(changes))} //nolint:gosec // there is no memory for so many
	if replace {
		head.Flags |= driver.InterfaceReplacePeers
	}
	b.AppendInterface(&head)
	for _, c := range changes {
		if err := appendPeer(&b, c); err != nil {
			return err
		}
	}
	return t.adapter.with(func(h *driver.Adapter) error {
		return wrapped("configure the adapter", h.SetConfiguration(b.Interface()))
	})
}

// appendPeer writes a change as the driver wants it.
func appendPeer(b *driver.ConfigBuilder, c change) error {
	p := driver.Peer{Flags: driver.PeerHasPublicKey, PublicKey: c.peer.PublicKey}
	if c.remove {
		p.Flags |= driver.PeerRemove
		b.AppendPeer(&p)
		return nil
	}
	p.Flags |= driver.PeerHasPresharedKey | driver.PeerHasPersistentKeepalive | driver.PeerReplaceAllowedIPs
	p.PresharedKey = c.peer.PresharedKey
	p.PersistentKeepalive = uint16(c.peer.Keepalive / time.Second) //nolint:gosec // checked with the peer
	if c.peer.Endpoint.IsValid() {
		p.Flags |= driver.PeerHasEndpoint
		if err := p.Endpoint.SetAddrPort(unmap(c.peer.Endpoint)); err != nil {
			return fmt.Errorf("endpoint %s: %w", c.peer.Endpoint, err)
		}
	}
	if !c.peer.AllowedIP.IsValid() {
		b.AppendPeer(&p)
		return nil
	}
	p.AllowedIPsCount = 1
	ip := driver.AllowedIP{AddressFamily: windows.AF_INET, Cidr: 32}
	copy(ip.Address[:], c.peer.AllowedIP.AsSlice())
	b.AppendPeer(&p)
	b.AppendAllowedIP(&ip)
	return nil
}

// read implements table.
func (t *ntTable) read() (is held, err error) {
	err = t.adapter.with(func(h *driver.Adapter) error {
		state, err := h.Configuration()
		if err != nil {
			return wrapped("read the adapter", err)
		}
		is.key, is.port = wgtypes.Key(state.PrivateKey), int(state.ListenPort)
		// Behind the last peer there is no memory to point to.
		for p := (*driver.Peer)(nil); len(is.peers) < int(state.PeerCount); is.peers = append(is.peers, ntPeer(p)) {
			if p == nil {
				p = state.FirstPeer()
			} else {
				p = p.NextPeer()
			}
		}
		return nil
	})
	return is, err
}

// own implements table.
func (t *ntTable) own(key wgtypes.Key, port int) error {
	var b driver.ConfigBuilder
	b.AppendInterface(&driver.Interface{
		Flags:      driver.InterfaceHasPrivateKey | driver.InterfaceHasListenPort,
		PrivateKey: key,
		ListenPort: uint16(port), //nolint:gosec // a port that the driver told
	})
	return t.adapter.with(func(h *driver.Adapter) error {
		return wrapped("configure the adapter", h.SetConfiguration(b.Interface()))
	})
}

// ntPeer takes over what the driver knows of a peer.
func ntPeer(p *driver.Peer) heldPeer {
	s := heldPeer{psk: wgtypes.Key(p.PresharedKey)}
	s.PublicKey = wgtypes.Key(p.PublicKey)
	s.ReceivedBytes, s.SentBytes = int64(p.RxBytes), int64(p.TxBytes) //nolint:gosec // nobody sends so many
	if p.LastHandshake != 0 {
		s.LastHandshake = time.Unix(0, (int64(p.LastHandshake)-fileTimeUnix)*100) //nolint:gosec // good until the year 2262
	}
	if at := p.Endpoint.AddrPort(); at.IsValid() {
		s.Endpoint = unmap(at)
	}
	for ip := (*driver.AllowedIP)(nil); len(s.AllowedIPs) < int(p.AllowedIPsCount); s.AllowedIPs = append(s.AllowedIPs, ntAllowed(ip)) {
		if ip == nil {
			ip = p.FirstAllowedIP()
		} else {
			ip = ip.NextAllowedIP()
		}
	}
	return s
}

// ntAllowed takes over what the driver lets a peer have.
func ntAllowed(ip *driver.AllowedIP) netip.Prefix {
	if ip.AddressFamily == windows.AF_INET {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(ip.Address[:4])), int(ip.Cidr))
	}
	return netip.PrefixFrom(netip.AddrFrom16(ip.Address), int(ip.Cidr))
}
