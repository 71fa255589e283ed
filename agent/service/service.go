// Package service runs a program as a service of Windows.
//
// It makes the service, starts, stops and removes it, is its side towards the service
// manager, and writes to the event log. Everywhere else its functions fail with an error
// that wraps [errors.ErrUnsupported].
package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Errors that callers tell apart.
var (
	// ErrNotElevated means that this process may not change services.
	ErrNotElevated = errors.New("administrator rights are needed: open the prompt with \"Run as administrator\" and try again")
	// ErrTaken means that the name belongs to the service of another program.
	ErrTaken = errors.New("a service of this name belongs to another program")
	// ErrAbsent means that there is no service of this name.
	ErrAbsent = errors.New("there is no service of this name")
)

// Config says what a service is. Args may be empty; all else is needed.
type Config struct {
	Name        string   // For programs; no spaces.
	Display     string   // For people.
	Description string   // One sentence for people.
	Exe         string   // Full path of the program.
	Args        []string // What it is started with.
}

// State is what the service manager says about a service.
type State struct {
	Installed bool
	Running   bool   // Fully: neither starting nor stopping.
	Automatic bool   // It starts with Windows.
	PID       uint32 // Of its process; 0 when it has none.
	Command   string // Program and arguments, as they are registered.
	Account   string // That it runs as.
	Display   string // Its name for people.
	StartType uint32 // As Windows numbers them: 2 is automatic, 3 manual, 4 disabled.
}

// Starts reports whether the service starts the program with the full path exe.
func (s State) Starts(exe string) bool {
	rest, quoted := strings.CutPrefix(s.Command, `"`)
	if len(rest) < len(exe) || !strings.EqualFold(rest[:len(exe)], exe) {
		return false
	}
	rest = rest[len(exe):]
	if quoted {
		return strings.HasPrefix(rest, `"`)
	}
	return rest == "" || rest[0] == ' '
}

// Event is something that a service's program may want to know.
type Event int

// The events.
const (
	Resumed        Event = iota + 1 // The device woke up.
	NetworkChanged                  // An address of the device came or went.
)

// String returns a short sentence for logs.
func (e Event) String() string {
	switch e {
	case Resumed:
		return "the device woke up"
	case NetworkChanged:
		return "the network changed"
	}
	return fmt.Sprintf("event %d", int(e))
}

// Elevated returns nil when this process may make services, and else [ErrNotElevated] or
// why it cannot be known.
func Elevated() error { return elevated() }

// Install makes the service, or brings the one that is there in line: its program with a
// quoted path, LocalSystem, automatic start, and the recovery actions, which start it again
// 1, 5 and 30 seconds after it failed. It reports whether anything that can be seen was
// changed. The error is [ErrTaken] when the name belongs to another program, and then
// nothing was touched. It does not start the service.
func Install(c Config) (changed bool, err error) {
	if changed, err = install(c); err != nil {
		return changed, fmt.Errorf("install service %s: %w", c.Name, err)
	}
	return changed, nil
}

// Remove stops the service and removes it, and returns when the service manager has
// forgotten it. One that is not there is no error.
func Remove(ctx context.Context, name string) error {
	if err := remove(ctx, name); err != nil {
		return fmt.Errorf("remove service %s: %w", name, err)
	}
	return nil
}

// Restore makes a service again what [Query] said it was: absent, stopped or running, with
// its program, its account and its kind of start.
func Restore(ctx context.Context, name string, before State) error {
	if err := restore(ctx, name, before); err != nil {
		return fmt.Errorf("restore service %s: %w", name, err)
	}
	return nil
}

// Start starts the service unless it runs, and returns when it runs. The error is
// [ErrAbsent] when there is none, and says so when the service ended at once.
func Start(ctx context.Context, name string) error {
	if err := start(ctx, name); err != nil {
		return fmt.Errorf("start service %s: %w", name, err)
	}
	return nil
}

// Stop stops the service unless it is stopped, and returns when its process is gone. One
// that is not there is no error.
func Stop(ctx context.Context, name string) error {
	if err := stop(ctx, name); err != nil {
		return fmt.Errorf("stop service %s: %w", name, err)
	}
	return nil
}

// Query looks at a service. One that is not there is no error. It needs no special rights.
func Query(name string) (State, error) {
	s, err := query(name)
	if err != nil {
		return State{}, fmt.Errorf("look at service %s: %w", name, err)
	}
	return s, nil
}

// Run is what the program that the service manager started calls. It runs program until it
// returns. Its context ends when the service is stopped or Windows shuts down; events is
// never closed, and one that nobody takes is dropped. The service counts as running when
// program has been at it for half a second. When program returns an error that
// nobody asked for, the service ends as failed, and the recovery actions start it again.
// Run returns that error, and one when program goes on for half a minute after it was told
// to end. A process can run one service, and should end with it.
func Run(name string, program func(ctx context.Context, events <-chan Event) error) error {
	if err := run(name, program); err != nil {
		return fmt.Errorf("run service %s: %w", name, err)
	}
	return nil
}
