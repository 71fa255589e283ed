//go:build unix

package agent

import (
	"errors"

	"golang.org/x/sys/unix"
)

// diskFull reports whether an error is a disk, or a share of it, without room.
func diskFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// readOnly reports whether an error is a disk that nobody may write.
func readOnly(err error) bool { return errors.Is(err, unix.EROFS) }
