// Package setup puts the agent on a device, and takes it away again without a trace.
//
// An installation is a list of steps. Each knows how to undo itself, and when one fails all
// before it are undone in reverse: the machine is as before. Each leaves a line in
// install.log.
package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Names that the agent has on a device.
const (
	ServiceName = "BorealisAgent"  // Of the service.
	DisplayName = "Borealis Agent" // For people: of the service, in the list of programs, and as source in the event log.
)

// Errors that callers tell apart.
var (
	// ErrOtherEngine means that the device belongs to another engine than the one that it
	// is to be enrolled with.
	ErrOtherEngine = errors.New("this device belongs to another engine")
	// ErrNoCode means that the device belongs to no engine, and there is no code either.
	ErrNoCode = errors.New("this device belongs to no engine yet: make an enrolment code in the console, and install with --code STRING")
)

// errElsewhere is what an installation comes to where there are no services.
var errElsewhere = fmt.Errorf("installing is for Windows; on Linux enrol with \"borealis-agent enrol --code STRING\" "+
	"and let systemd start \"borealis-agent run\": %w", errors.ErrUnsupported)

// Config says how to install. Place, Source, Version and Enrolled are needed.
type Config struct {
	Place

	Source   string // Full path of the program to install: the running one.
	Version  string // Of Source.
	Link     string // What the service is to be told with --link; "" leaves it as it is.
	Packaged bool   // Windows Installer runs this: it has an entry in the list of programs itself.

	Address string // host:port of the engine, from the enrolment code. Without a code it is "",
	Pin     string // and so is the engine's identity: the device has to be enrolled already.
	Replace bool   // Enrol as a new device, also when it belongs to an engine already.

	// Enrolled says with which engine the device is enrolled; the pin is "" when with none.
	Enrolled func() (address, pin string, err error)
	// Enrol enrols the device. A code serves once, so it comes last but for the start. It is
	// needed with a code.
	Enrol func(ctx context.Context) (Device, error)

	Log io.Writer // Each line of install.log goes there too; nil is nowhere.

	names names // For tests; zero is the agent's own.
}

// Device is what an enrolment came to.
type Device struct {
	ID    string `json:"device_id"`
	State string `json:"state"` // pending or active.
	Words string `json:"words"` // To compare with the console.
}

// Report is what an installation came to.
type Report struct {
	Device  *Device `json:"device,omitempty"` // nil when it was enrolled before.
	Address string  `json:"engine"`           // host:port.
	Service string  `json:"service"`
	Program string  `json:"program"`
	Data    string  `json:"data"`
	Log     string  `json:"log"` // Full path of install.log.
	Steps   []Step  `json:"steps"`
	Present bool    `json:"already_present"` // Nothing had to be done.
}

// Step is one thing that was done.
type Step struct {
	Name    string `json:"step"`
	Outcome string `json:"outcome"` // "already present", or what was done.
}

// UninstallConfig says how to uninstall. Only Place is needed.
type UninstallConfig struct {
	Place

	Purge    bool      // Remove keys, settings and logs too.
	Packaged bool      // Windows Installer runs this: it removes its own files itself.
	Log      io.Writer // Each line of install.log goes there too; nil is nowhere.

	names names // For tests; zero is the agent's own.
}

// Removal is what an uninstallation came to.
type Removal struct {
	Removed []string `json:"removed"` // A phrase each.
	Left    []string `json:"left"`    // A sentence each: what stays, and why.
}

// names are what the agent is called on a device.
type names struct{ service, display string }

func (n names) orOwn() names {
	if n == (names{}) {
		return names{service: ServiceName, display: DisplayName}
	}
	return n
}
