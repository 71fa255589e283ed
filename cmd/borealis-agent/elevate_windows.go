package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/windows"
)

// elevate starts this program again as an administrator; Windows asks who sits there.
// What that one does, its own window and install.log tell.
func elevate(args ...string) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program that runs: %w", err)
	}
	for i, a := range args {
		args[i] = windows.EscapeArg(a)
	}
	var p [3]*uint16
	for i, s := range []string{"runas", exe, strings.Join(args, " ")} {
		if p[i], err = windows.UTF16PtrFromString(s); err != nil {
			return err
		}
	}
	if err := windows.ShellExecute(0, p[0], p[1], p[2], nil, windows.SW_SHOWNORMAL); err != nil {
		return fmt.Errorf("ask for administrator rights: %w", err)
	}
	return nil
}
