package agent

import (
	"errors"

	"golang.org/x/sys/windows"
)

// diskFull reports whether an error is a disk, or a share of it, without room.
func diskFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

// readOnly reports whether an error is a disk that nobody may write.
func readOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }
