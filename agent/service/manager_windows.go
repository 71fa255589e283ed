package service

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"
)

const (
	poll     = 100 * time.Millisecond // Between two looks at a service that starts, stops or goes.
	patience = time.Minute            // For it to have started, stopped or gone.
)

// settings are what the service manager keeps about a service and Restore puts back. All
// that this package makes is a process of its own, whose failure does not end a start.
type settings struct {
	start                     uint32
	command, account, display string
}

// A connection is an open service.
type connection struct {
	mgr.Service

	manager windows.Handle
}

func (c *connection) close() {
	closeHandle(c.Handle)
	closeHandle(c.manager)
}

// closeHandle closes a handle of the service manager. That it cannot is nobody's to hear.
func closeHandle(h windows.Handle) { _ = windows.CloseServiceHandle(h) }

// manager opens the service manager. The caller closes it.
func manager(access uint32) (windows.Handle, error) {
	h, err := windows.OpenSCManager(nil, nil, access)
	if err != nil {
		return 0, refused(err)
	}
	return h, nil
}

// connect opens a service. The error is [ErrAbsent] when there is none. The caller closes it.
func connect(name string, access uint32) (*connection, error) {
	m, err := manager(windows.SC_MANAGER_CONNECT)
	if err != nil {
		return nil, err
	}
	s, err := openService(m, name, access)
	if err != nil {
		closeHandle(m)
		return nil, err
	}
	return &connection{Service: mgr.Service{Name: name, Handle: s}, manager: m}, nil
}

func openService(m windows.Handle, name string, access uint32) (windows.Handle, error) {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return 0, err
	}
	s, err := windows.OpenService(m, p, access)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return 0, ErrAbsent
	}
	if err != nil {
		return 0, refused(err)
	}
	return s, nil
}

// refused says in words what some refusals of the service manager mean.
func refused(err error) error {
	switch {
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return fmt.Errorf("%w (%w)", ErrNotElevated, err)
	case errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE):
		return fmt.Errorf("it is being removed, and a program still holds it open: close the Services window, or restart Windows, and try again (%w)", err)
	case errors.Is(err, windows.ERROR_SERVICE_DISABLED):
		return fmt.Errorf("it is disabled: set its kind of start to automatic, or install the agent again (%w)", err)
	case errors.Is(err, windows.ERROR_SERVICE_REQUEST_TIMEOUT):
		return fmt.Errorf("its program ended, or hung, before it could say that it runs: see the event log and its own log (%w)", err)
	}
	return err
}

func elevated() error {
	m, err := manager(windows.SC_MANAGER_CONNECT | windows.SC_MANAGER_CREATE_SERVICE)
	if err != nil {
		return err
	}
	return windows.CloseServiceHandle(m)
}

func query(name string) (State, error) {
	c, err := connect(name, windows.SERVICE_QUERY_CONFIG|windows.SERVICE_QUERY_STATUS)
	if errors.Is(err, ErrAbsent) {
		return State{}, nil
	}
	if err != nil {
		return State{}, err
	}
	defer c.close()
	status, err := c.Query()
	if err != nil {
		return State{}, fmt.Errorf("ask for its state: %w", err)
	}
	kept, err := c.settings()
	if err != nil {
		return State{}, err
	}
	return State{
		Installed: true,
		Running:   status.State == svc.Running,
		Automatic: kept.start == windows.SERVICE_AUTO_START,
		PID:       status.ProcessId,
		Command:   kept.command,
		Account:   kept.account,
		Display:   kept.display,
		StartType: kept.start,
	}, nil
}

// settings reads what the service manager keeps about the service.
func (c *connection) settings() (settings, error) {
	for n := uint32(1024); ; {
		had := n
		b := make([]byte, had)
		q := (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(&b[0]))
		err := windows.QueryServiceConfig(c.Handle, q, had, &n)
		if errors.Is(err, windows.ERROR_INSUFFICIENT_BUFFER) && n > had {
			continue
		}
		if err != nil {
			return settings{}, refused(err)
		}
		return settings{
			start:   q.StartType,
			command: windows.UTF16PtrToString(q.BinaryPathName),
			account: windows.UTF16PtrToString(q.ServiceStartName),
			display: windows.UTF16PtrToString(q.DisplayName),
		}, nil
	}
}

// change makes the settings those of the service.
func (c *connection) change(to settings) error {
	var p [3]*uint16
	for i, s := range []string{to.command, to.account, to.display} {
		var err error
		if p[i], err = windows.UTF16PtrFromString(s); err != nil {
			return err
		}
	}
	return refused(windows.ChangeServiceConfig(c.Handle, windows.SERVICE_WIN32_OWN_PROCESS, to.start, windows.SERVICE_ERROR_NORMAL, p[0], nil, nil, nil, p[1], nil, p[2]))
}

func restore(ctx context.Context, name string, before State) error {
	if !before.Installed {
		return remove(ctx, name)
	}
	c, err := connect(name, windows.SERVICE_CHANGE_CONFIG)
	if err != nil {
		return err
	}
	err = c.change(settings{start: before.StartType, command: before.Command, account: before.Account, display: before.Display})
	c.close()
	if err != nil {
		return err
	}
	if before.Running {
		return start(ctx, name)
	}
	return stop(ctx, name)
}

func remove(ctx context.Context, name string) error {
	if err := stop(ctx, name); err != nil {
		return err
	}
	c, err := connect(name, windows.DELETE)
	if errors.Is(err, ErrAbsent) {
		return nil
	}
	if err != nil {
		return err
	}
	err = c.Delete()
	c.close() // It is forgotten only when nobody holds it open.
	if err != nil && !errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE) {
		return fmt.Errorf("delete it: %w", refused(err))
	}
	late := refused(windows.ERROR_SERVICE_MARKED_FOR_DELETE)
	return await(ctx, late, func() (bool, error) {
		s, err := query(name)
		return !s.Installed, err
	})
}

// await asks again and again until done says yes, for at most patience. Then the error is
// late.
func await(ctx context.Context, late error, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, late)
	defer cancel()
	again := time.NewTicker(poll)
	defer again.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again.C:
		}
	}
}
