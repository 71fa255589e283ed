//go:build unix

package shell

import (
	"os"
	"os/signal"
	"syscall"
)

// heedInterrupts undoes, for the programs we start, that the agent ignores signals from the keyboard
// (a script started it with "&", or nohup did): programs inherit what is ignored, but not what is
// handled, and Ctrl-C would do nothing in the shell. The agent itself goes on ignoring them.
func heedInterrupts() (undo func()) {
	handled := make(chan os.Signal, 1) // never read: handled is all that is wanted
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGTSTP} {
		if signal.Ignored(s) {
			signal.Notify(handled, s)
		}
	}
	return func() { signal.Stop(handled) }
}
