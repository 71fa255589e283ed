// Package inventory tells what a device is made of.
//
// It is for people, who want to know what they are connected to; nothing is granted by
// it. What cannot be found out stays empty. It reads what the operating system notes for
// everybody to read, starts no program, and asks only disks that are part of the device,
// for one on the network may not answer for minutes.
package inventory

import (
	"context"

	"borealis/agent/wire"
)

// Gather asks the device. What an agent adds is left out: how it makes tunnels, and what
// the local policy forbids. The texts are fit for a message, and the lists not longer
// than one may hold. When ctx ends it stops before the next question and returns what it
// knows; a single question cannot be broken off, and a disk that hangs may take long.
func Gather(ctx context.Context) wire.Inventory {
	i := wire.Inventory{Edition: edition(), Adapters: adapters()}
	gather(ctx, &i)
	return fit(i)
}

// Edition returns the operating system's name with its version, such as "Windows 11 Pro
// 24H2" or "Debian GNU/Linux 12 (bookworm)", or "".
func Edition() string { return text(edition()) }

// MachineID returns what tells this installation of the operating system from all
// others, or "". Programs on the device may use it as a secret: it is not to be told.
func MachineID() string { return machineID() }
