package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"

	"borealis/agent/inventory"
)

// facts are what a device says about itself. They are for people; nothing is
// granted by them.
type facts struct {
	hostname, os, osVersion, arch string
	machine                       string // A hash that is the same for the same installation of the agent, or "".
}

// gather asks the device, for the agent with a data root. A hostname that is not ""
// takes the place of its own.
func gather(hostname, data string) facts {
	if hostname == "" {
		hostname, _ = os.Hostname() // Without a name it is "" and the engine shows its id.
	}
	return facts{
		hostname:  clean(hostname, maxName),
		os:        runtime.GOOS,
		osVersion: inventory.Edition(),
		arch:      runtime.GOARCH,
		machine:   machineHash(inventory.MachineID(), data),
	}
}

// machineHash tells the same installation of the agent again: the same data root on
// the same machine. It hides the machine's id, which programs on the device may use as
// a secret. An engine compares it only with others that begin with the same version.
func machineHash(id, data string) string {
	root, err := filepath.Abs(data)
	if id == "" || err != nil {
		return ""
	}
	sum := sha256.Sum256([]byte("borealis machine v2\x00" + id + "\x00" + root))
	return "v2." + hex.EncodeToString(sum[:])
}
