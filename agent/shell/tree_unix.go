//go:build unix

package shell

import (
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	grace    = 250 * time.Millisecond // what programs get to put their things away after SIGHUP
	patience = 3 * time.Second        // how long to wait for killed processes to be gone
)

// endTree ends all processes of the session that leader started: first asked to hang up, so that a
// shell saves its history and an editor its file, then killed. It returns when they are gone, or
// after patience for one that the kernel cannot end (it hangs in a device). Nobody has reaped the
// leader yet, so its process id is nobody else's.
func endTree(leader int) {
	t := tree{leader: leader}
	endAll(leader, t.living, syscall.Kill)
}

// endAll is endTree with ways to find processes and to signal them. Where they cannot be found, the
// leader and its group have to do. However long finding them takes, they are asked and killed.
func endAll(leader int, living func() ([]int, error), kill func(int, syscall.Signal) error) {
	asked, kills := false, 0
	begun := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, 16*time.Millisecond) {
		left, err := living()
		if err != nil {
			left = []int{leader, -leader}
		}
		spent := time.Since(begun)
		if len(left) == 0 || kills > 1 && spent > patience {
			return
		}
		for _, pid := range left {
			switch {
			case !asked:
				_ = kill(pid, syscall.SIGHUP)  // one that is gone already is fine
				_ = kill(pid, syscall.SIGCONT) // a stopped job cannot hang up
			case spent > grace:
				_ = kill(pid, syscall.SIGKILL)
			}
		}
		if asked && spent > grace {
			kills++
		}
		asked = true
		<-time.After(pause) // no event tells the end of a process that is not our child
	}
}

// signalName returns a signal's name as SSH has it.
func signalName(s syscall.Signal) string {
	return strings.TrimPrefix(unix.SignalName(s), "SIG")
}
