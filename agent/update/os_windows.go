package update

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// errLocked means that somebody else has a lock.
var errLocked = errors.New("a watcher is at work")

// lock opens a file for this process alone, until it is unlocked or the process ends.
func lock(path string) (unlock func(), err error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_ALWAYS, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		return nil, errLocked
	}
	if err != nil {
		return nil, err
	}
	return func() { windows.CloseHandle(h) }, nil
}

// shared reports whether a file is refused because somebody has it open.
func shared(err error) bool { return errors.Is(err, windows.ERROR_SHARING_VIOLATION) }

// detached makes a process outlive the one that starts it. It has no console and, being
// started by a service that is in no job, is in none.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP}
}
