package audit

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// giveUpAfter has the system end a connection on which something was not acknowledged
// for that long. By itself Linux tries for a quarter of an hour.
func giveUpAfter(d time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds())) // #nosec G115 -- a descriptor
		})
		if err != nil {
			return err
		}
		return set
	}
}
