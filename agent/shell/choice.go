package shell

import "fmt"

// errNoPwsh is for a device without PowerShell 7.
var errNoPwsh = fmt.Errorf("PowerShell 7 is not installed on this device: choose another shell, or install it there")

// unknownShell is for a choice that this agent does not know.
func unknownShell(name string) error {
	return fmt.Errorf("this agent knows no shell %.40q: choose another one, or update the agent", name)
}
