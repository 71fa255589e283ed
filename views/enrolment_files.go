package views

import (
	"net/url"

	"github.com/a-h/templ"
)

// carries reports whether the engine carries an agent for a system.
func (v Enrolment) carries(system string) bool { return len(v.hashes(system)) > 0 }

// noAgent says what to do when the engine does not carry the agent for a system.
func noAgent(system, file string) Note {
	return Note{
		Kind: "warn", Text: "This engine was built without the agent for " + system + ".",
		Hint: "Build the engine with \"make build\", which puts the agents inside, and the line below will download it. Or bring " + file + " to the machine and run the line there.",
	}
}

func fileURL(name string) templ.SafeURL { return templ.SafeURL("/downloads/" + url.PathEscape(name)) }

// platform is the kind of machine that an agent is for.
func (a CarriedAgent) platform() string {
	return osName(a.OS) + " on " + plain(a.Arch)
}

// processor names the processors that a driver is for.
func (d KeptDriver) processor() string {
	switch d.Arch {
	case "amd64":
		return "Intel, AMD"
	case "arm64":
		return "ARM"
	}
	return plain(d.Arch)
}

// folder is where the engine looks for the driver, below its data root.
func (d KeptDriver) folder() string {
	return "Dependencies/VPN_Tunnel_Adapter/" + plain(d.Arch)
}
