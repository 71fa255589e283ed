package service

import (
	"sync"

	"golang.org/x/sys/windows"
)

// networkChanges has a message when an address changed. There is one for the process,
// because Windows calls a function and callbacks are never freed.
var networkChanges = make(chan struct{}, 1)

var onNetworkChange = sync.OnceValue(func() uintptr {
	return windows.NewCallback(func(_, _, _ uintptr) uintptr {
		select {
		case networkChanges <- struct{}{}:
		default: // One waits already.
		}
		return 0
	})
})

// watchNetwork tells of each change of the device's addresses, until forget is called. On
// a system that cannot tell there are none.
func watchNetwork() (changes <-chan struct{}, forget func()) {
	var h windows.Handle
	if err := windows.NotifyUnicastIpAddressChange(windows.AF_UNSPEC, onNetworkChange(), nil, false, &h); err != nil || h == 0 {
		return networkChanges, func() {}
	}
	return networkChanges, func() { _ = windows.CancelMibChangeNotify2(h) }
}
