package support

import (
	"golang.org/x/sys/unix"
)

// kernelRelease is the release of the kernel, or "".
func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
