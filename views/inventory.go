package views

import (
	"cmp"
	"time"
)

// Inventory is what a device is made of, as it said last. None of it is to be trusted.
type Inventory struct {
	At         time.Time // when it said so; zero = it never did
	Edition    string    // of the operating system
	Build      string
	CPU        string
	Cores      int   // logical processors
	Memory     int64 // bytes
	Disks      []Disk
	Adapters   []Adapter
	LastUser   string    // who signed in last; "" = not known
	Booted     time.Time // zero = not known
	Link       string    // what its tunnels stand on: wireguard-nt or netstack
	LinkReason string    // why, one sentence
	Driver     string    // version of the driver in use; "" = none is
	Limits     []string  // what the device's own policy forbids, one sentence each
}

// Disk is a volume of a device.
type Disk struct {
	Name       string
	Kind       string // its file system
	Size, Free int64  // bytes
}

// Adapter is a network adapter of a device.
type Adapter struct {
	Name      string
	MAC       string // "" = it has none
	Addresses []string
}

// How many lines of a list are drawn openly; the others are a click away.
const openDisks, openAdapters = 6, 4

const barWidth = 1000 // of a bar, in units of its picture

// used is how far the bar of a disk goes.
func (d Disk) used() int {
	if d.Size <= 0 || d.Free < 0 || d.Free > d.Size {
		return 0
	}
	return barWidth - int(float64(d.Free)/float64(d.Size)*barWidth)
}

// full says that hardly anything fits on the disk any more.
func (d Disk) full() bool { return d.used() > barWidth*95/100 }

// room says how much of the disk is free.
func (d Disk) room() string {
	if d.Size <= 0 {
		return "size not known"
	}
	return bytesText(max(d.Free, 0)) + " free of " + bytesText(d.Size)
}

// processor names the processor and says how many the system sees.
func (i Inventory) processor() string {
	if i.Cores > 0 {
		return cmp.Or(plain(i.CPU), "–") + ", " + count(i.Cores, "logical processor")
	}
	return cmp.Or(plain(i.CPU), "–")
}

// dataPlane names what a device's tunnels stand on.
func (i Inventory) dataPlane() string {
	switch i.Link {
	case "wireguard-nt":
		return "WireGuardNT"
	case "netstack":
		return "Netstack, inside the agent"
	}
	return cmp.Or(plain(i.Link), "–")
}
