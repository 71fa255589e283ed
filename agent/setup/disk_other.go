//go:build !windows

package setup

import (
	"errors"
	"syscall"
)

func full(err error) bool     { return errors.Is(err, syscall.ENOSPC) }
func readOnly(err error) bool { return errors.Is(err, syscall.EROFS) }
func inUse(error) bool        { return false } // Who holds a file open is in nobody's way.

func freeSpace(string) (uint64, error) { return 0, errElsewhere }
func removeLater(string) error         { return errElsewhere }
