package wg

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Peer is the other end of a tunnel, as it is added.
type Peer struct {
	PublicKey    wgtypes.Key
	PresharedKey wgtypes.Key    // zero means none
	AllowedIP    netip.Addr     // the one IPv4 address that is the peer's, a /32; zero means none: only the handshake passes
	Endpoint     netip.AddrPort // where to send; zero means: learn it from the peer's first packet
	Keepalive    time.Duration  // whole seconds; zero means none
}

// PeerState is a peer as the device knows it.
type PeerState struct {
	PublicKey     wgtypes.Key
	Endpoint      netip.AddrPort // zero until known
	LastHandshake time.Time      // zero until the first one
	ReceivedBytes int64          // handshakes and keepalives count too, so no proof of use
	SentBytes     int64
	AllowedIPs    []netip.Prefix
}

// change is one step on a peer table: a peer to add, or the key of one to remove.
type change struct {
	peer   Peer
	remove bool
}

// held is what a device holds.
type held struct {
	key   wgtypes.Key // this end's, private
	port  int
	peers []heldPeer
}

// heldPeer is a peer as a device holds it.
type heldPeer struct {
	PeerState
	psk wgtypes.Key
}

// AddPeer adds one peer and touches no other. A peer that is there already is removed first, so
// that nothing of its old session lives on. The same AllowedIP for two peers is an error.
func (i *Interface) AddPeer(p Peer) error {
	if err := i.checkPeer(p); err != nil {
		return fmt.Errorf("add peer %s: %w", p.PublicKey, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	var changes []change
	if key, ok := i.owner[p.AllowedIP]; ok && key != p.PublicKey {
		return fmt.Errorf("add peer %s: address %s belongs to peer %s", p.PublicKey, p.AllowedIP, key)
	}
	if _, ok := i.asked[p.PublicKey]; ok {
		changes = append(changes, change{peer: Peer{PublicKey: p.PublicKey}, remove: true})
	}
	if err := i.setLocked(false, append(changes, change{peer: p})); err != nil {
		// Half a peer is worse than none.
		undone := i.setLocked(false, []change{{peer: Peer{PublicKey: p.PublicKey}, remove: true}})
		i.forgetLocked(p.PublicKey)
		return fmt.Errorf("add peer %s: %w", p.PublicKey, errors.Join(err, undone))
	}
	i.rememberLocked(p)
	return nil
}

// RemovePeer removes one peer and touches no other; from then on no packet passes. An unknown
// peer is no error, and neither is an interface that is gone. When it fails, [Interface.Repair]
// will try again.
func (i *Interface) RemovePeer(key wgtypes.Key) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.alive() != nil {
		return nil
	}
	i.forgetLocked(key)
	err := i.setLocked(false, []change{{peer: Peer{PublicKey: key}, remove: true}})
	if err != nil {
		return fmt.Errorf("remove peer %s: %w", key, err)
	}
	return nil
}

// SetPeers makes peers the whole set, for the start of a program. Every session ends. When it
// fails while the interface is open, there are to be no peers, and [Interface.Repair] removes what
// the device still has.
func (i *Interface) SetPeers(peers []Peer) error {
	changes := make([]change, 0, len(peers))
	byKey := make(map[wgtypes.Key]bool, len(peers))
	byIP := make(map[netip.Addr]bool, len(peers))
	for _, p := range peers {
		if err := i.checkPeer(p); err != nil {
			return fmt.Errorf("set peer %s: %w", p.PublicKey, err)
		}
		if byKey[p.PublicKey] || byIP[p.AllowedIP] {
			return fmt.Errorf("set peer %s: key or address %s is there twice", p.PublicKey, p.AllowedIP)
		}
		byKey[p.PublicKey] = true
		if p.AllowedIP.IsValid() {
			byIP[p.AllowedIP] = true
		}
		changes = append(changes, change{peer: p})
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.asked)
	clear(i.owner)
	if err := i.setLocked(true, changes); err != nil {
		return fmt.Errorf("set %d peers: %w", len(peers), err)
	}
	for _, p := range peers {
		i.rememberLocked(p)
	}
	return nil
}

// rememberLocked takes note of a peer that the device has from now on.
func (i *Interface) rememberLocked(p Peer) {
	i.forgetLocked(p.PublicKey)
	i.asked[p.PublicKey] = p
	if p.AllowedIP.IsValid() {
		i.owner[p.AllowedIP] = p.PublicKey
	}
}

// forgetLocked takes note that the device has, or is to have, a peer no more.
func (i *Interface) forgetLocked(key wgtypes.Key) {
	delete(i.owner, i.asked[key].AllowedIP)
	delete(i.asked, key)
}

// Peers returns every peer, in no particular order. It reads the whole device, which takes about
// 4 ms for a thousand peers: call it seldom.
func (i *Interface) Peers() ([]PeerState, error) {
	if err := i.alive(); err != nil {
		return nil, fmt.Errorf("list peers: %w", err)
	}
	h, err := i.table.read()
	if err != nil {
		return nil, fmt.Errorf("list peers: %w", err)
	}
	peers := make([]PeerState, 0, len(h.peers))
	for _, p := range h.peers {
		peers = append(peers, p.PeerState)
	}
	return peers, nil
}

// Peer returns one peer and whether there is such a peer. Its figures may be a few milliseconds
// old: calls that come close together share one reading of the device.
func (i *Interface) Peer(key wgtypes.Key) (PeerState, bool, error) {
	peers, err := i.recent(i.changes.Load())
	if err != nil {
		return PeerState{}, false, fmt.Errorf("read peer %s: %w", key, err)
	}
	p, ok := peers[key]
	return p, ok, nil
}

// checkPeer says what is wrong with a peer; WireGuard itself would take most of it in silence.
func (i *Interface) checkPeer(p Peer) error {
	switch {
	case p.PublicKey == wgtypes.Key{}:
		return errors.New("public key is missing")
	case p.PublicKey == i.public:
		return errors.New("this is the key of this end")
	case p.AllowedIP != netip.Addr{} && (!p.AllowedIP.Is4() || p.AllowedIP.IsUnspecified()):
		return fmt.Errorf("address %q: want an IPv4 address", p.AllowedIP)
	case p.AllowedIP == i.address:
		return fmt.Errorf("address %s is the one of this end", p.AllowedIP)
	case p.Endpoint != netip.AddrPort{} && (!p.Endpoint.IsValid() || p.Endpoint.Port() == 0):
		return fmt.Errorf("endpoint %q: want an address and a port", p.Endpoint)
	case p.Keepalive < 0 || p.Keepalive > 65535*time.Second:
		return fmt.Errorf("keepalive %s is out of range", p.Keepalive)
	}
	return nil
}

// setLocked changes the device's table and makes every older reading of it stale.
func (i *Interface) setLocked(replace bool, changes []change) error {
	if err := i.alive(); err != nil {
		return err
	}
	defer i.changes.Add(1)
	return i.table.set(replace, changes)
}
