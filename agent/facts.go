package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"runtime"
)

// facts are what a device says about itself. They are for people; nothing is
// decided by them.
type facts struct {
	hostname, os, osVersion, arch string
	machine                       string // A hash that is the same for the same installation, or "".
}

// gather asks the device. A hostname that is not "" takes the place of its own.
func gather(hostname string) facts {
	if hostname == "" {
		hostname, _ = os.Hostname() // Without a name it is "" and the engine shows its id.
	}
	return facts{
		hostname:  clean(hostname, maxName),
		os:        runtime.GOOS,
		osVersion: clean(osVersion(), maxName),
		arch:      runtime.GOARCH,
		machine:   machineHash(machineID()),
	}
}

// machineHash hides a machine's id, which programs on the device may use as a
// secret, while telling the same machine again.
func machineHash(id string) string {
	if id == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("borealis machine v1\x00" + id))
	return hex.EncodeToString(sum[:])
}
