package wg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/windows"
	"golang.org/x/time/rate"
	"golang.zx2c4.com/wireguard/windows/driver"
)

const libraryName = "wireguard.dll"

// functions are what package driver calls in the library. It panics when one is not there.
var functions = []string{
	"WireGuardCreateAdapter", "WireGuardOpenAdapter", "WireGuardCloseAdapter", "WireGuardDeleteDriver",
	"WireGuardGetAdapterLUID", "WireGuardGetRunningDriverVersion", "WireGuardSetLogger", "WireGuardSetAdapterLogging",
	"WireGuardSetAdapterState", "WireGuardGetAdapterState", "WireGuardSetConfiguration", "WireGuardGetConfiguration",
}

// library is the wireguard.dll of this process, which stays loaded.
var library struct {
	listener atomic.Pointer[listener] // to what the driver says, or nil

	mu   sync.Mutex
	path string // "" before it is loaded
}

// load loads the library by its full path. Package driver then asks Windows for it by its name
// alone, and gets what is loaded under that name already.
func load(path string) error {
	library.mu.Lock()
	defer library.mu.Unlock()
	switch {
	case !filepath.IsAbs(path) || !strings.EqualFold(filepath.Base(path), libraryName):
		return fmt.Errorf("load %q: want the full path of a file named %s", path, libraryName)
	case strings.EqualFold(library.path, path):
		return nil
	case library.path != "":
		return fmt.Errorf("load %s: this process works with %s already", path, library.path)
	}
	// What the library itself needs must come from Windows, not from its own folder.
	handle, err := windows.LoadLibraryEx(path, 0, windows.LOAD_LIBRARY_SEARCH_SYSTEM32)
	if err != nil {
		return fmt.Errorf("load %s: %w", path, err)
	}
	if err := checkLibrary(handle); err != nil {
		return errors.Join(fmt.Errorf("load %s: %w", path, err), windows.FreeLibrary(handle))
	}
	if err := probe(); err != nil {
		return fmt.Errorf("load %s: %w", path, err)
	}
	library.path = path
	set, err := windows.GetProcAddress(handle, "WireGuardSetLogger")
	if err != nil {
		return fmt.Errorf("load %s: %w", path, err)
	}
	_, _, _ = syscall.SyscallN(set, windows.NewCallback(hear))
	return nil
}

// probe makes package driver find the library, and set a logger of its own.
func probe() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it was loaded, but Windows does not find it: %v", p)
		}
	}()
	_, _ = driver.RunningVersion() // none runs yet, as a rule
	return nil
}

// checkLibrary makes sure that package driver will find this library, and all it needs in it.
func checkLibrary(handle windows.Handle) error {
	name, err := windows.UTF16PtrFromString(libraryName)
	if err != nil {
		return err
	}
	var found windows.Handle
	if err := windows.GetModuleHandleEx(windows.GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT, name, &found); err != nil {
		return err
	}
	if found != handle {
		return errors.New("this process has loaded another file of that name before")
	}
	for _, f := range functions {
		if _, err := windows.GetProcAddress(handle, f); err != nil {
			return fmt.Errorf("it has no %s, so it is of another version: take that of WireGuardNT 1.0 or later", f)
		}
	}
	return nil
}

// listener writes down what the driver says, like that of a device in this process.
type listener struct {
	log      *slog.Logger
	warnings *rate.Limiter
}

// listenTo says where to write what the driver says; nil is nowhere.
func listenTo(log *slog.Logger) {
	if log == nil {
		library.listener.Store(nil)
		return
	}
	library.listener.Store(&listener{log, rate.NewLimiter(rate.Every(warnEvery), warnBurst)})
}

// hear is called by the driver, on a thread of its own. Level 0 is routine, 1 and 2 are trouble.
func hear(level uintptr, _ uint64, line *uint16) uintptr {
	l := library.listener.Load()
	switch {
	case l == nil:
	case level > 0 && l.warnings.Allow():
		l.log.Warn("wireguard driver is in trouble", "err", windows.UTF16PtrToString(line))
	case l.log.Enabled(context.Background(), slog.LevelDebug):
		l.log.Debug("wireguard driver", "reason", windows.UTF16PtrToString(line))
	}
	return 0
}
