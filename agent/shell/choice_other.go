//go:build !windows

package shell

import (
	"fmt"
	"os/exec"
	"path/filepath"

	"borealis/agent/wire"
)

// choose returns the shell that c asks for by its name, or c.shell when it asks for none.
func choose(c command) (path string, err error) {
	switch c.choice {
	case "":
		return c.shell, nil
	case wire.ShellPwsh:
		path, err := exec.LookPath("pwsh")
		if err != nil || !filepath.IsAbs(path) {
			return "", errNoPwsh
		}
		return path, nil
	case wire.ShellPowerShell, wire.ShellCmd:
		return "", fmt.Errorf("%q is a shell of Windows, which this device does not run: choose the device's own", c.choice)
	}
	return "", unknownShell(c.choice)
}
