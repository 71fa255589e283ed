package service

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
)

func start(ctx context.Context, name string) error {
	c, err := connect(name, windows.SERVICE_START|windows.SERVICE_QUERY_STATUS)
	if err != nil {
		return err
	}
	defer c.close()
	asked := false
	return await(ctx, errors.New("it did not start within a minute: see the event log"), func() (bool, error) {
		status, err := c.Query()
		switch {
		case err != nil:
			return false, fmt.Errorf("ask for its state: %w", err)
		case status.State == svc.Running:
			return true, nil
		case status.State != svc.Stopped:
			return false, nil
		case asked:
			return false, fmt.Errorf("it ended at once, with code %d: see the event log and its own log", code(status))
		}
		asked = true
		if err := c.Start(); err != nil && !errors.Is(err, windows.ERROR_SERVICE_ALREADY_RUNNING) {
			return false, refused(err)
		}
		return false, nil
	})
}

// code is what a service ended with.
func code(s svc.Status) uint32 {
	if s.Win32ExitCode == uint32(windows.ERROR_SERVICE_SPECIFIC_ERROR) {
		return s.ServiceSpecificExitCode
	}
	return s.Win32ExitCode
}

func stop(ctx context.Context, name string) error {
	c, err := connect(name, windows.SERVICE_STOP|windows.SERVICE_QUERY_STATUS)
	if errors.Is(err, ErrAbsent) {
		return nil
	}
	if err != nil {
		return err
	}
	defer c.close()
	status, err := c.Query()
	if err != nil {
		return fmt.Errorf("ask for its state: %w", err)
	}
	pid := status.ProcessId
	gone := watchProcess(pid)
	defer gone.close()
	var (
		told    bool  // Once: a service that is about to end may not bear to be told again.
		silence error // Its answer did not come, maybe because it has just ended: its state tells.
	)
	late := fmt.Errorf("it did not stop within a minute: end its process, %d, in the Task Manager and try again", pid)
	err = await(ctx, late, func() (bool, error) {
		status, err := c.Query()
		switch {
		case err != nil:
			return false, fmt.Errorf("ask for its state: %w", err)
		case status.State == svc.Stopped:
			return gone.ended(), nil
		case told || status.State == svc.StopPending || status.State == svc.StartPending: // it accepts nothing yet
			return false, nil
		}
		_, err = c.Control(svc.Stop)
		switch {
		case err == nil:
			told = true
		case errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE), errors.Is(err, windows.ERROR_SERVICE_CANNOT_ACCEPT_CTRL):
		case errors.Is(err, windows.ERROR_ACCESS_DENIED):
			return false, fmt.Errorf("tell it to stop: %w", refused(err))
		default:
			told, silence = true, fmt.Errorf("tell it to stop: %w", err)
		}
		return false, nil
	})
	if errors.Is(err, late) {
		return errors.Join(err, silence)
	}
	return err
}

// process is a process that is waited for; 0 is one that is gone or not to be seen.
type process windows.Handle

// watchProcess opens a process to wait for its end. The service manager calls a service
// stopped while its process still holds its files.
func watchProcess(pid uint32) process {
	if pid == 0 {
		return 0
	}
	h, err := windows.OpenProcess(windows.SYNCHRONIZE, false, pid)
	if err != nil {
		return 0
	}
	return process(h)
}

func (p process) ended() bool {
	if p == 0 {
		return true
	}
	event, err := windows.WaitForSingleObject(windows.Handle(p), 0)
	return err != nil || event == windows.WAIT_OBJECT_0
}

func (p process) close() {
	if p != 0 {
		windows.CloseHandle(windows.Handle(p))
	}
}
