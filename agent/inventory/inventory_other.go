//go:build !linux && !windows

package inventory

import (
	"context"
	"net"
	"runtime"

	"borealis/agent/wire"
)

// gather knows little of this system.
func gather(_ context.Context, i *wire.Inventory) { i.Cores = runtime.NumCPU() }

// edition is not known here.
func edition() string { return "" }

// machineID is not known here.
func machineID() string { return "" }

// hardware takes an adapter with an address of its own for one.
func hardware(i net.Interface) bool { return len(i.HardwareAddr) > 0 }
