package shell

import (
	"errors"

	"golang.org/x/sys/windows"
)

// errTooOld is what a Windows without pseudo consoles answers.
var errTooOld = errors.New("this Windows is too old for the terminal (it needs Windows 10 1809 or Server 2019); ports and the tunnel still work")

// createConsole is the first thing of a terminal that an old Windows lacks.
var createConsole = windows.NewLazySystemDLL("kernel32.dll").NewProc("CreatePseudoConsole")

// TooOld returns why this Windows has no terminal: nil, or one sentence for people.
func TooOld() error {
	if createConsole.Find() != nil {
		return errTooOld
	}
	return nil
}
