//go:build unix && !linux

package shell

import (
	"os/exec"
	"syscall"
)

// tree is what a session's leader started.
type tree struct{ leader int }

// living returns the session's first process group, as one negative id, while anything is in it:
// this platform does not list sessions without cgo.
func (t *tree) living() ([]int, error) {
	if syscall.Kill(-t.leader, 0) != nil {
		return nil, nil
	}
	return []int{-t.leader}, nil
}

// awaitExit waits until the program has ended and reaps it.
func awaitExit(cmd *exec.Cmd) { _ = cmd.Wait() }

// eraseUTF8 leaves the terminal's line editing as it is.
func eraseUTF8(int) {}
