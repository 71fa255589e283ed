package engine

import (
	"runtime/debug"

	"borealis/agent/release"
)

// Version is the release that the binary was built for, or else the module version that it
// was built from.
func Version() string {
	if v := release.Version(); v != "" {
		return v
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "0.1.0-dev"
}
