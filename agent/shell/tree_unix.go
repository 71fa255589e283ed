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
// after patience for one that the kernel cannot end (it hangs in a device).
func endTree(leader int) {
	t := tree{leader: leader}
	asked := false
	begun := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, 16*time.Millisecond) {
		left := t.living()
		spent := time.Since(begun)
		if len(left) == 0 || spent > patience {
			return
		}
		for _, pid := range left {
			switch {
			case spent > grace:
				_ = syscall.Kill(pid, syscall.SIGKILL) // one that is gone already is fine
			case !asked:
				_ = syscall.Kill(pid, syscall.SIGHUP)
				_ = syscall.Kill(pid, syscall.SIGCONT) // a stopped job cannot hang up
			}
		}
		asked = true
		<-time.After(pause) // no event tells the end of a process that is not our child
	}
}

// signalName returns a signal's name as SSH has it.
func signalName(s syscall.Signal) string {
	return strings.TrimPrefix(unix.SignalName(s), "SIG")
}
