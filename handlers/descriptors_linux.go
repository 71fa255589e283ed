package handlers

import (
	"math"
	"os"
	"syscall"
)

const ownDescriptors = "/proc/self/fd"

// descriptorLimit is how many descriptors this process may have. Go itself raises the soft limit to
// the hard one when a program starts.
func descriptorLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur, math.MaxInt32))
}

// openDescriptors counts those of this process. From Linux 6.2 on the kernel knows the number, and
// it takes no descriptor to ask.
func openDescriptors() (int, bool) {
	if info, err := os.Stat(ownDescriptors); err == nil && info.Size() > 0 {
		return int(info.Size()), true
	}
	names, err := os.ReadDir(ownDescriptors)
	return len(names), err == nil
}
