// Package netfilter keeps a plan of allowed ports in the packet filter of this host.
//
// What it adds is found by its prefix BRL- in the table filter of iptables and ip6tables:
//
//	INPUT   1: -i borealis0 -j BRL-IN        replies to what the engine opened, nothing else
//	        2: -s POOL ! -i borealis0 -j BRL-SRC   forged addresses from other links
//	OUTPUT  1: -o borealis0 -j BRL-OUT       the owner guard, then by /24 and by address to BRL-A-ADDRESS
//	FORWARD 1: -i borealis0 -j BRL-FWD       nothing passes from tunnel to tunnel or to a network
//	        2: -o borealis0 -j BRL-FWD
//
// A port that is not in the plan is refused by BRL-OUT, also for connections that are open already:
// there is no shortcut for them on the way out. IPv6 is dropped whole. Rules of other programs
// stay as they are; every chain named BRL-… and every jump to one belongs to this package.
//
// What somebody else does to these rules is seen by the generation number that the kernel gives
// all its rules, and undone. Where that takes long, everything is closed first.
package netfilter

import (
	"errors"
	"net/netip"
	"time"

	"borealis/acl"
)

// Errors of [Open], for errors.Is. Each comes with a sentence that says what to do. A missing
// right to change the packet filter is [os.ErrPermission].
var (
	ErrNoIPTables = errors.New("iptables is not installed")
	ErrLegacy     = errors.New("only the legacy backend of iptables is installed")
	ErrInUse      = errors.New("another engine keeps the packet filter of this host")
)

// ErrClosed is the error of every method after Close.
var ErrClosed = errors.New("the packet filter is closed")

// Config says what a [Firewall] guards.
type Config struct {
	Interface string       // network interface of the tunnels; empty means borealis0; need not exist yet
	Pool      netip.Prefix // of the virtual addresses, IPv4
	Owner     int          // uid that alone may open flows into tunnels
	HostUsers bool         // lifts that: every user of this host may
	Notify    func(Event)  // called from the firewall's own goroutine; must not block nor close the firewall; nil means nobody
}

// Counters are counts of packets since the rules that count them were made: a repair may start
// them again from zero.
type Counters struct {
	Accepted map[acl.Port]uint64 // by the ports of the address, as they are in the plan
	Refused  uint64              // to all addresses, for whatever reason
}

// EventKind says what happened to the rules.
type EventKind string

// Kinds of an [Event].
const (
	Repaired EventKind = "repaired" // the rules were not what they should be, and are again
	Lost     EventKind = "lost"     // two repairs in a row failed; it is tried again every second
	Restored EventKind = "restored" // the rules are right again after Lost
)

// An Event tells that the rules in the kernel were not as they should be.
type Event struct {
	Kind   EventKind
	Detail string    // what was wrong, a sentence
	Err    error     // why it could not be repaired; nil unless Kind is Lost
	At     time.Time // when it was found out
}
