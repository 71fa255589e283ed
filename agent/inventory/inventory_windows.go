package inventory

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"borealis/agent/wire"
)

// Where Windows notes what it is, below HKEY_LOCAL_MACHINE.
const (
	keySystem    = `SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	keyProcessor = `HARDWARE\DESCRIPTION\System\CentralProcessor\0`
	keySignIn    = `SOFTWARE\Microsoft\Windows\CurrentVersion\Authentication\LogonUI`
	keyMachine   = `SOFTWARE\Microsoft\Cryptography`
)

// Of RtlGetVersion.
const (
	workstation    = 1     // ProductType.
	firstWindows11 = 22000 // Windows 11 still calls itself 10, with this build or later.
)

// gather asks the registry and the kernel.
func gather(ctx context.Context, i *wire.Inventory) {
	i.Build = build()
	i.CPU = registryText(keyProcessor, "ProcessorNameString")
	i.Cores = int(windows.GetActiveProcessorCount(windows.ALL_PROCESSOR_GROUPS))
	i.Memory = memory()
	i.LastUser = lastUser(registryText(keySignIn, "LastLoggedOnUser"), registryText(keySignIn, "LastLoggedOnSAMUser"))
	i.Booted = time.Now().Add(-windows.DurationSinceBoot())
	i.Disks = disks(ctx)
}

// edition returns such as "Windows 11 Pro 24H2".
func edition() string {
	v := windows.RtlGetVersion()
	release := cmp.Or(registryText(keySystem, "DisplayVersion"), registryText(keySystem, "ReleaseId")) // The latter before 20H2.
	return named(registryText(keySystem, "ProductName"), release, v.BuildNumber, v.ProductType == workstation)
}

// named puts a product's name right: that of Windows 11 is 10, to not break programs that
// read it.
func named(product, release string, build uint32, desktop bool) string {
	if desktop && build >= firstWindows11 {
		if rest, ok := strings.CutPrefix(product, "Windows 10"); ok {
			product = "Windows 11" + rest
		}
	}
	return strings.TrimSpace(cmp.Or(product, "Windows") + " " + release)
}

// build returns such as "10.0.26100.2033": the last part grows with each month's update.
func build() string {
	v := windows.RtlGetVersion()
	b := fmt.Sprintf("%d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, keySystem, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return b
	}
	defer func() { _ = k.Close() }()
	if revision, _, err := k.GetIntegerValue("UBR"); err == nil {
		b += fmt.Sprintf(".%d", revision)
	}
	return b
}

// memoryStatus is MEMORYSTATUSEX.
type memoryStatus struct {
	length, load                            uint32
	physical, physicalFree                  uint64
	page, pageFree, virtual, virtualFree, _ uint64
}

// memory returns how many bytes of it Windows can use, or 0.
func memory() int64 {
	status := memoryStatus{length: uint32(unsafe.Sizeof(memoryStatus{}))}
	call := windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")
	if ok, _, _ := call.Call(uintptr(unsafe.Pointer(&status))); ok == 0 {
		return 0
	}
	return bytes(status.physical)
}

// disks are the volumes with a letter that are part of the device. One that is locked
// does not tell its size and is left out.
func disks(ctx context.Context) []wire.Disk {
	letters, err := windows.GetLogicalDrives()
	if err != nil {
		return nil
	}
	var found []wire.Disk
	for n := range 26 {
		if letters&(1<<n) == 0 || ctx.Err() != nil {
			continue
		}
		if d, ok := disk(string(rune('A'+n)) + ":"); ok {
			found = append(found, d)
		}
	}
	return found
}

// disk asks one volume.
func disk(letter string) (wire.Disk, bool) {
	root, err := windows.UTF16PtrFromString(letter + `\`)
	if err != nil || windows.GetDriveType(root) != windows.DRIVE_FIXED {
		return wire.Disk{}, false
	}
	var available, size, free uint64
	if err := windows.GetDiskFreeSpaceEx(root, &available, &size, &free); err != nil {
		return wire.Disk{}, false
	}
	d := wire.Disk{Name: letter, Size: bytes(size), Free: bytes(free)}
	var kind [windows.MAX_PATH + 1]uint16
	if err := windows.GetVolumeInformation(root, nil, 0, nil, nil, nil, &kind[0], uint32(len(kind))); err == nil {
		d.Kind = windows.UTF16ToString(kind[:])
	}
	return d, true
}

// lastUser returns who signed in last at the sign-in screen, by the two names under which
// Windows notes it: DOMAIN\name, or a name alone for an account of the device itself.
func lastUser(user, sam string) string {
	return strings.TrimPrefix(cmp.Or(user, sam), `.\`)
}

// machineID is made when Windows is installed.
func machineID() string { return registryText(keyMachine, "MachineGuid") }

// hardware takes an adapter with an address of its own for one: tunnels have none.
func hardware(i net.Interface) bool { return len(i.HardwareAddr) > 0 }

// registryText returns a value below HKEY_LOCAL_MACHINE, or "".
func registryText(path, name string) string {
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
