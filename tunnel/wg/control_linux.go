package wg

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// controlTable is the peer table of a device spoken to through wgctrl: a link of the kernel, or
// a user-space device behind its socket.
type controlTable struct {
	name   string
	client *wgctrl.Client
	repair func() error // makes a device reachable again that cannot be found; may be nil
	inside *ipcTable    // of a device in this process, which reads fast and says why it takes no port; else nil
}

// set implements table.
func (t *controlTable) set(replace bool, changes []change) error {
	config := wgtypes.Config{ReplacePeers: replace, Peers: make([]wgtypes.PeerConfig, len(changes))}
	for n, c := range changes {
		config.Peers[n] = peerConfig(c)
	}
	return t.apply(config)
}

// peerConfig writes a change as wgctrl wants it.
func peerConfig(c change) wgtypes.PeerConfig {
	p := c.peer
	if c.remove {
		return wgtypes.PeerConfig{PublicKey: p.PublicKey, Remove: true}
	}
	config := wgtypes.PeerConfig{
		PublicKey:                   p.PublicKey,
		PresharedKey:                &p.PresharedKey,
		PersistentKeepaliveInterval: &p.Keepalive,
		ReplaceAllowedIPs:           true,
	}
	if p.AllowedIP.IsValid() {
		config.AllowedIPs = []net.IPNet{{IP: p.AllowedIP.AsSlice(), Mask: net.CIDRMask(32, 32)}}
	}
	if p.Endpoint.IsValid() {
		config.Endpoint = net.UDPAddrFromAddrPort(unmap(p.Endpoint))
	}
	return config
}

// apply configures the device, after a repair if it cannot be found.
func (t *controlTable) apply(config wgtypes.Config) error {
	err := t.client.ConfigureDevice(t.name, config)
	if !errors.Is(err, os.ErrNotExist) || t.repair == nil {
		return err
	}
	if err := t.repair(); err != nil {
		return err
	}
	return t.client.ConfigureDevice(t.name, config)
}

// device reads the device, after a repair if it cannot be found.
func (t *controlTable) device() (*wgtypes.Device, error) {
	d, err := t.client.Device(t.name)
	if !errors.Is(err, os.ErrNotExist) || t.repair == nil {
		return d, err
	}
	if err := t.repair(); err != nil {
		return nil, err
	}
	return t.client.Device(t.name)
}

// read implements table.
func (t *controlTable) read() (held, error) {
	if t.inside != nil {
		return t.inside.read()
	}
	d, err := t.device()
	if err != nil {
		return held{}, err
	}
	h := held{key: d.PrivateKey, port: d.ListenPort, peers: make([]heldPeer, 0, len(d.Peers))}
	for _, p := range d.Peers {
		h.peers = append(h.peers, heldPeer{peerState(p), p.PresharedKey})
	}
	return h, nil
}

// own implements table.
func (t *controlTable) own(key wgtypes.Key, port int) error {
	if t.inside != nil {
		return t.inside.own(key, port)
	}
	return t.apply(wgtypes.Config{PrivateKey: &key, ListenPort: &port})
}

// peerState takes over what wgctrl knows of a peer.
func peerState(p wgtypes.Peer) PeerState {
	s := PeerState{PublicKey: p.PublicKey, ReceivedBytes: p.ReceiveBytes, SentBytes: p.TransmitBytes}
	// The user-space protocol has no other way to say "never" than the start of 1970.
	if t := p.LastHandshakeTime; !t.IsZero() && t.After(time.Unix(0, 0)) {
		s.LastHandshake = t
	}
	if p.Endpoint != nil {
		s.Endpoint = unmap(p.Endpoint.AddrPort())
	}
	for _, ip := range p.AllowedIPs {
		a, _ := netip.AddrFromSlice(ip.IP)
		bits, _ := ip.Mask.Size()
		s.AllowedIPs = append(s.AllowedIPs, netip.PrefixFrom(a.Unmap(), bits))
	}
	return s
}
