package shell

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"borealis/agent/wire"
)

// appPath is where PowerShell 7's installer says where it has put it. Only administrators write there.
const appPath = `SOFTWARE\Microsoft\Windows\CurrentVersion\App Paths\pwsh.exe`

// choose returns the shell that c asks for by its name, or else c.shell, or else Windows PowerShell.
func choose(c command) (path string, err error) {
	switch {
	case c.choice == "" && c.shell != "":
		return c.shell, nil
	case c.choice == "", c.choice == wire.ShellPowerShell:
		return system(`WindowsPowerShell\v1.0\powershell.exe`)
	case c.choice == wire.ShellCmd:
		return system("cmd.exe")
	case c.choice == wire.ShellPwsh:
		return findPwsh()
	}
	return "", unknownShell(c.choice)
}

// system returns the path of a program of Windows.
func system(program string) (string, error) {
	folder, err := windows.GetSystemDirectory()
	if err != nil {
		return "", fmt.Errorf("find the folder of Windows: %w", err)
	}
	return filepath.Join(folder, program), nil
}

// findPwsh returns where PowerShell 7 or later is.
func findPwsh() (string, error) {
	if path := registered(appPath); isProgram(path) {
		return path, nil
	}
	programs, err := windows.KnownFolderPath(windows.FOLDERID_ProgramFiles, 0)
	if err != nil {
		return "", fmt.Errorf("find the folder of programs: %w", err)
	}
	path := filepath.Join(programs, "PowerShell", "7", "pwsh.exe")
	_, err = os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", errNoPwsh
	}
	return path, err
}

// registered returns the program that a key of the machine's registry names, or "".
func registered(name string) string {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, name, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return ""
	}
	defer func() { _ = key.Close() }() // it was only read
	path, kind, err := key.GetStringValue("")
	if err != nil {
		return ""
	}
	if kind == registry.EXPAND_SZ {
		if path, err = registry.ExpandString(path); err != nil {
			return ""
		}
	}
	return strings.Trim(path, `"`)
}

// isProgram reports whether path is absolute and names a file.
func isProgram(path string) bool {
	if !filepath.IsAbs(path) {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
