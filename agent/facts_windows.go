package agent

import (
	"fmt"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// Of RtlGetVersion.
const (
	workstation    = 1     // ProductType.
	firstWindows11 = 22000 // Windows 11 still calls itself 10, with this build or later.
)

// osVersion returns a name such as "Windows 11 24H2 (10.0.26100)".
func osVersion() string {
	v := windows.RtlGetVersion()
	name := "Windows Server"
	if v.ProductType == workstation {
		name = "Windows 10"
		if v.BuildNumber >= firstWindows11 {
			name = "Windows 11"
		}
	}
	if release := registryString(`SOFTWARE\Microsoft\Windows NT\CurrentVersion`, "DisplayVersion"); release != "" {
		name += " " + release
	}
	return fmt.Sprintf("%s (%d.%d.%d)", name, v.MajorVersion, v.MinorVersion, v.BuildNumber)
}

// machineID returns what tells this installation from others, or "".
func machineID() string {
	return registryString(`SOFTWARE\Microsoft\Cryptography`, "MachineGuid")
}

// registryString returns a value below HKEY_LOCAL_MACHINE, or "".
func registryString(path, name string) string {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return ""
	}
	defer func() { _ = k.Close() }()
	s, _, err := k.GetStringValue(name)
	if err != nil {
		return ""
	}
	return s
}
