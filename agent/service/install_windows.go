package service

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc/mgr"
)

// What the service manager does when the service failed, and when it forgets that it did.
var recovery = []mgr.RecoveryAction{
	{Type: mgr.ServiceRestart, Delay: time.Second},
	{Type: mgr.ServiceRestart, Delay: 5 * time.Second},
	{Type: mgr.ServiceRestart, Delay: 30 * time.Second}, // And so each time after it.
}

const (
	forget      = 24 * time.Hour
	preshutdown = stopLimit + 5*time.Second // How long Windows waits for the service when it shuts down.
)

func install(c Config) (changed bool, err error) {
	want := settings{
		start: windows.SERVICE_AUTO_START, command: commandLine(c.Exe, c.Args), account: "LocalSystem", display: c.Display,
	}
	s, err := connect(c.Name, windows.SERVICE_ALL_ACCESS)
	if errors.Is(err, ErrAbsent) {
		changed = true
		s, err = create(c.Name, want)
	}
	if err != nil {
		return false, err
	}
	defer s.close()
	if !changed {
		if changed, err = s.align(c.Exe, want); err != nil {
			return false, err
		}
	}
	return changed, s.configure(c)
}

// commandLine is how a service is registered: with quotes around its program, whether it
// needs them or not.
func commandLine(exe string, args []string) string {
	line := []string{`"` + exe + `"`}
	for _, a := range args {
		line = append(line, windows.EscapeArg(a))
	}
	return strings.Join(line, " ")
}

// create makes the service.
func create(name string, want settings) (*connection, error) {
	m, err := manager(windows.SC_MANAGER_CONNECT | windows.SC_MANAGER_CREATE_SERVICE)
	if err != nil {
		return nil, err
	}
	var p [3]*uint16
	for i, s := range []string{name, want.display, want.command} {
		if p[i], err = windows.UTF16PtrFromString(s); err != nil {
			closeHandle(m)
			return nil, err
		}
	}
	h, err := windows.CreateService(m, p[0], p[1], windows.SERVICE_ALL_ACCESS,
		windows.SERVICE_WIN32_OWN_PROCESS, want.start, windows.SERVICE_ERROR_NORMAL, p[2], nil, nil, nil, nil, nil) // No account is LocalSystem.
	if err != nil {
		closeHandle(m)
		return nil, refused(err)
	}
	return &connection{Service: mgr.Service{Name: name, Handle: h}, manager: m}, nil
}

// align makes the service that is there what it should be, unless it is another program's.
func (c *connection) align(exe string, want settings) (changed bool, err error) {
	is, err := c.settings()
	if err != nil {
		return false, err
	}
	if !(State{Command: is.command}).Starts(exe) {
		return false, fmt.Errorf("%w, %s: remove that service, or find out who made it", ErrTaken, is.command)
	}
	if is == want {
		return false, nil
	}
	return true, c.change(want)
}

// configure sets what cannot be set at creation. The service manager of Wine knows some of
// it not; what Windows does not know cannot be had.
func (c *connection) configure(of Config) error {
	description, err := windows.UTF16PtrFromString(of.Description)
	if err != nil {
		return err
	}
	sid := uint32(windows.SERVICE_SID_TYPE_UNRESTRICTED)
	wait := milliseconds(preshutdown)
	return errors.Join(
		c.set("description", windows.SERVICE_CONFIG_DESCRIPTION, unsafe.Pointer(&windows.SERVICE_DESCRIPTION{Description: description})),
		c.set("kind of SID", windows.SERVICE_CONFIG_SERVICE_SID_INFO, unsafe.Pointer(&sid)),
		c.set("time to shut down", windows.SERVICE_CONFIG_PRESHUTDOWN_INFO, unsafe.Pointer(&wait)),
		known("recovery actions", c.SetRecoveryActions(recovery, uint32(forget.Seconds()))),
		known("recovery after a failure", c.SetRecoveryActionsOnNonCrashFailures(true)),
	)
}

// set sets one level of the service's configuration.
func (c *connection) set(what string, level uint32, info unsafe.Pointer) error {
	return known(what, windows.ChangeServiceConfig2(c.Handle, level, (*byte)(info)))
}

// known forgives a service manager that it does not know what was to be set.
func known(what string, err error) error {
	if err == nil || errors.Is(err, windows.ERROR_INVALID_LEVEL) {
		return nil
	}
	return fmt.Errorf("set the %s: %w", what, refused(err))
}
