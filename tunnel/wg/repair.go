package wg

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

const (
	toldPeers = 8 // that a repair tells of one by one
	// wakeUp is the keepalive of a peer whose session was lost here: its first one makes the device
	// begin a handshake, for the other end would not know for minutes.
	wakeUp = 25 * time.Second
)

// Changed receives, with room for one, when somebody changed the link, its address or a route to
// what is reached through it. It is never closed. In modes Netstack and NT it is nil.
func (i *Interface) Changed() <-chan struct{} { return i.changed }

// Repair compares the device with what was asked of the interface, puts right what differs, and
// says in one sentence each what it was: the link's state, MTU, address and route, this end's key
// and UDP port, and peers that are foreign, missing or changed. A sentence about peers begins with
// "Peer". Where a peer is and how often it is spoken to are not compared. What others have added
// beside the address and the route is left alone. It is [net.ErrClosed] when the interface is gone;
// what was put right before an error is returned too.
//
// A peer whose session is lost is spoken to, where it was seen last, so that its traffic goes on.
func (i *Interface) Repair() (repaired []string, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.alive(); err != nil {
		return nil, err
	}
	repaired, err = i.repairLocked()
	if err != nil {
		return repaired, fmt.Errorf("repair interface %s: %w", i.name, cmp.Or(i.alive(), err))
	}
	return repaired, nil
}

func (i *Interface) repairLocked() (repaired []string, err error) {
	if i.repair != nil {
		if repaired, err = i.repair(); err != nil {
			return repaired, err
		}
	}
	h, err := i.table.read()
	if err != nil {
		return repaired, fmt.Errorf("read the device: %w", err)
	}
	if h.key != i.private || h.port != i.port {
		if err := i.table.own(i.private, i.port); err != nil {
			return repaired, fmt.Errorf("set key and UDP port %d: %w", i.port, err)
		}
		what := fmt.Sprintf("Its UDP port was %d: it is %d again.", h.port, i.port)
		if h.port == i.port {
			what = "The private key was another: it is this engine's again."
		}
		repaired = append(repaired, what)
	}
	changes, told := i.differenceLocked(h.peers, len(repaired) > 0)
	if len(changes) > 0 {
		err = i.setLocked(false, changes)
	}
	if err != nil {
		return repaired, fmt.Errorf("set peers again: %w", err)
	}
	return append(repaired, told...), nil
}

// differenceLocked returns what makes the peers of the device those that were asked for, removals
// first, and a sentence about each. With wake, sessions were lost, and all peers are spoken to.
func (i *Interface) differenceLocked(have []heldPeer, wake bool) (changes []change, told []string) {
	var sets []change
	there := make(map[wgtypes.Key]bool, len(have))
	for _, h := range have {
		p, ok := i.asked[h.PublicKey]
		there[h.PublicKey] = true
		if ok && h.Endpoint.IsValid() {
			p.Endpoint = h.Endpoint
			i.asked[h.PublicKey] = p
		}
		remove := change{peer: Peer{PublicKey: h.PublicKey}, remove: true}
		switch {
		case !ok:
			changes = append(changes, remove)
			told = append(told, fmt.Sprintf("Peer %s was added by somebody else: it was removed.", h.PublicKey))
		case h.psk != p.PresharedKey:
			changes, sets = append(changes, remove), append(sets, i.againLocked(p))
			told = append(told, fmt.Sprintf("Peer %s had another preshared key: it was set again.", h.PublicKey))
		case !p.only(h.AllowedIPs):
			sets = append(sets, i.againLocked(p))
			told = append(told, fmt.Sprintf("Peer %s had addresses %v: it was set again.", h.PublicKey, h.AllowedIPs))
		case wake:
			sets = append(sets, i.againLocked(p))
		}
	}
	for key, p := range i.asked {
		if !there[key] {
			sets = append(sets, i.againLocked(p))
			told = append(told, fmt.Sprintf("Peer %s was missing: it was added again.", key))
		}
	}
	if more := len(told) - toldPeers; more > 0 {
		told = append(told[:toldPeers], fmt.Sprintf("Peers beside these were put right: %d.", more))
	}
	return append(changes, sets...), told
}

// againLocked sets a peer so that the device speaks to it at once if it has no session with it.
func (i *Interface) againLocked(p Peer) change {
	if !p.Endpoint.IsValid() {
		if s := i.snapshot.Load(); s != nil {
			p.Endpoint = s.peers[p.PublicKey].Endpoint
		}
	}
	if p.Endpoint.IsValid() {
		p.Keepalive = cmp.Or(p.Keepalive, wakeUp)
	}
	return change{peer: p}
}

// only reports whether a peer has the addresses that it is to have.
func (p *Peer) only(have []netip.Prefix) bool {
	if !p.AllowedIP.IsValid() {
		return len(have) == 0
	}
	return len(have) == 1 && have[0] == netip.PrefixFrom(p.AllowedIP, p.AllowedIP.BitLen())
}
