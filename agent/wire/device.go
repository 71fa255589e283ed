package wire

import (
	"time"
)

// Protocol is the version of this package's messages. An engine sends an agent nothing that
// is newer than what the agent said in its [Hello], and an agent nothing that is newer than
// what the engine said in its [Welcome].
const Protocol = 3

// Limits of an [Inventory].
const (
	MaxDisks    = 32
	MaxAdapters = 32
	MaxAddrs    = 16 // Of one adapter.
	MaxLimits   = 16 // Sentences about the local policy.
)

// MaxAddresses is how many further addresses of the engine a [Welcome] may have.
const MaxAddresses = 3

// Inventory is what a device is made of, and what its owner does not allow. An agent sends it
// after the welcome and again when it has changed. Like all that a device says about itself it
// is for people.
type Inventory struct {
	Edition    string    `json:"edition"` // "Windows 11 Pro 24H2", "Debian GNU/Linux 12 (bookworm)".
	Build      string    `json:"build"`   // "10.0.26100.2033", "6.1.0-25-amd64".
	CPU        string    `json:"cpu"`     // The processor's name.
	Cores      int       `json:"cores"`   // Logical processors.
	Memory     int64     `json:"memory"`  // Bytes.
	Disks      []Disk    `json:"disks,omitempty"`
	Adapters   []Adapter `json:"adapters,omitempty"`
	LastUser   string    `json:"last_user"` // Who signed in last, or "".
	Booted     time.Time `json:"booted,omitzero"`
	Link       string    `json:"link"`             // What its tunnels stand on: wireguard-nt, netstack.
	LinkReason string    `json:"link_reason"`      // Why, in one sentence.
	Driver     string    `json:"driver"`           // Version of the driver in use, or "".
	Limits     []string  `json:"limits,omitempty"` // What the device's owner forbids, one sentence each.
}

// Disk is a volume that keeps its content.
type Disk struct {
	Name string `json:"name"` // "C:", "/".
	Kind string `json:"kind"` // Its file system.
	Size int64  `json:"size"` // Bytes.
	Free int64  `json:"free"` // Bytes.
}

// Adapter is a network adapter that is up and no loopback.
type Adapter struct {
	Name      string   `json:"name"`
	MAC       string   `json:"mac"`                 // "" when it has none.
	Addresses []string `json:"addresses,omitempty"` // In CIDR notation.
}

// File is something that the engine keeps for its agents: see [PathFile].
type File struct {
	SHA256 string `json:"sha256"` // In hexadecimal, lower case.
	Size   int64  `json:"size"`   // Bytes.
}

// Update offers an agent another version of itself, which an administrator asked for. The
// manifest says which, and only its publisher can have signed it.
type Update struct {
	Manifest string `json:"manifest"` // Of package agent/release.
}

// Outcomes of an [Update].
const (
	UpdateStarted    = "started"     // It is downloaded and checked; the agent restarts.
	UpdateDone       = "done"        // The new version runs and has checked in.
	UpdateRefused    = "refused"     // It was not taken; nothing changed.
	UpdateFailed     = "failed"      // It could not be put in place; nothing changed.
	UpdateRolledBack = "rolled_back" // It was put in place, did not check in, and was taken back.
)

// Updated says what became of an [Update].
type Updated struct {
	Version string `json:"version"` // That was offered, or "" when the manifest could not be read.
	Outcome string `json:"outcome"`
	Detail  string `json:"detail"` // A sentence for people, or "".
}

func (c *checks) inventory(i *Inventory) {
	c.text("edition", i.Edition, maxName)
	c.text("build", i.Build, maxName)
	c.text("cpu", i.CPU, maxName)
	c.natural("cores", int64(i.Cores))
	c.natural("memory", i.Memory)
	c.atMost("disks", len(i.Disks), MaxDisks)
	for _, d := range i.Disks {
		c.text("name", d.Name, maxName)
		c.text("kind", d.Kind, maxName)
		c.natural("size", d.Size)
		c.natural("free", d.Free)
	}
	c.atMost("adapters", len(i.Adapters), MaxAdapters)
	for _, a := range i.Adapters {
		c.text("name", a.Name, maxName)
		c.text("mac", a.MAC, maxName)
		c.atMost("addresses", len(a.Addresses), MaxAddrs)
		for _, addr := range a.Addresses {
			c.text("addresses", addr, maxName)
		}
	}
	c.text("last_user", i.LastUser, maxName)
	if y := i.Booted.UTC().Year(); !i.Booted.IsZero() && (y < 1980 || y >= maxYear) {
		c.fail("booted", "out of range")
	}
	c.text("link", i.Link, maxName)
	c.text("link_reason", i.LinkReason, maxSentence)
	c.text("driver", i.Driver, maxName)
	c.atMost("limits", len(i.Limits), MaxLimits)
	for _, l := range i.Limits {
		c.text("limits", l, maxName)
	}
}

func (c *checks) updated(u *Updated) {
	c.text("version", u.Version, maxName)
	switch u.Outcome {
	case UpdateStarted, UpdateDone, UpdateRefused, UpdateFailed, UpdateRolledBack:
	default:
		c.fail("outcome", "not a known one")
	}
	c.text("detail", u.Detail, maxSentence)
}

func (c *checks) file(name string, f *File) {
	if len(f.SHA256) != 64 {
		c.fail(name, "not a SHA-256")
	}
	for i := range len(f.SHA256) {
		if b := f.SHA256[i]; (b < '0' || b > '9') && (b < 'a' || b > 'f') {
			c.fail(name, "not a SHA-256")
			break
		}
	}
	if f.Size < 1 {
		c.fail(name, "empty")
	}
}

// natural wants zero or more.
func (c *checks) natural(name string, n int64) {
	if n < 0 {
		c.fail(name, "negative")
	}
}

// atMost bounds the length of a list.
func (c *checks) atMost(name string, n, limit int) {
	if n > limit {
		c.fail(name, "too many")
	}
}
