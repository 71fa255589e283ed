package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/windows"
)

// lockDir makes dir, when absent, for its owner, SYSTEM and administrators
// alone and locks it against every other process and goroutine that wants to
// make keys there.
func lockDir(dir string) (unlock func(), err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		if err := protect(dir); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(dir, ".lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, new(windows.Overlapped))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}

// tryLock locks an open file for this process until it is closed, alone or with all others
// that share it; false when another one has it.
func tryLock(f *os.File, shared bool) (bool, error) {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if !shared {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// protect gives dir an access list that it hands down and takes from nobody:
// by default every local user may read what is made below ProgramData.
func protect(dir string) error {
	user, err := outsider()
	if err != nil {
		return fmt.Errorf("protect %s: %w", dir, err)
	}
	sd, err := windows.SecurityDescriptorFromString(sddl(user))
	if err != nil {
		return fmt.Errorf("protect %s: %w", dir, err)
	}
	acl, _, err := sd.DACL()
	if err != nil {
		return fmt.Errorf("protect %s: %w", dir, err)
	}
	err = windows.SetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT,
		windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, acl, nil)
	if err != nil {
		return fmt.Errorf("protect %s: %w", dir, err)
	}
	return nil
}

// outsider returns the SID of the user whose process this is, or "" when it runs with the
// rights of SYSTEM or an administrator, who need no entry of their own. One who is no
// administrator any more some day shall not keep the keys.
func outsider() (string, error) {
	token := windows.GetCurrentProcessToken()
	if token.IsElevated() {
		return "", nil
	}
	user, err := token.GetTokenUser()
	if err != nil {
		return "", err
	}
	return user.User.Sid.String(), nil
}

// sddl gives full access to SYSTEM, administrators and one user, unless that is "",
// inherited by all below, and nothing to anybody else.
func sddl(user string) string {
	s := "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
	if user != "" {
		s += "(A;OICI;FA;;;" + user + ")"
	}
	return s
}

// A file that somebody has open cannot be replaced and, while it is replaced, not be
// opened. Both take moments.
const (
	replaceFor = time.Second
	openFor    = 200 * time.Millisecond // Not longer: who may not read a file gets the same error.
	busyPause  = 5 * time.Millisecond
)

// patiently does something again while a file is in use by others, for a while.
func patiently(d time.Duration, do func() error) error {
	for until := time.Now().Add(d); ; <-time.After(busyPause) {
		err := do()
		busy := errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_LOCK_VIOLATION) ||
			errors.Is(err, windows.ERROR_ACCESS_DENIED)
		if !busy || time.Now().After(until) {
			return err
		}
	}
}

// replace puts the file from in the place of to.
func replace(from, to string) error {
	return patiently(replaceFor, func() error { return os.Rename(from, to) })
}

// openFile opens a file for reading. The caller closes it.
func openFile(path string) (f *os.File, err error) {
	err = patiently(openFor, func() error {
		f, err = os.Open(path)
		return err
	})
	return f, err
}

// private does nothing here: the directory's access list guards its files.
func private(string, fs.FileInfo) error { return nil }

// syncDir does nothing here: directories cannot be synced.
func syncDir(string) error { return nil }
