package shell

import "golang.org/x/sys/windows"

// heedInterrupts undoes, for the programs we start, that the agent ignores Ctrl-C (it does when it was
// started in a process group of its own): programs inherit that, and Ctrl-C would do nothing in the shell.
func heedInterrupts() (undo func()) {
	handler := windows.NewLazySystemDLL("kernel32.dll").NewProc("SetConsoleCtrlHandler")
	if handler.Find() == nil {
		_, _, _ = handler.Call(0, 0) // an agent without a console has nothing to undo
	}
	return func() {}
}
