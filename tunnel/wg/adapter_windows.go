package wg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/windows"
	"golang.zx2c4.com/wireguard/windows/driver"
	"golang.zx2c4.com/wireguard/windows/tunnel/winipcfg"
)

const (
	defaultAdapterName = "Borealis"
	adapterType        = "WireGuard"

	// Just after the start of Windows the driver may not be ready yet. WireGuard's own service
	// tries as often then, and as long apart. Later the adapter of a process that has just died
	// may still be in the way.
	bootAttempts  = 15
	laterAttempts = 3
	createPause   = time.Second
	justBooted    = 10 * time.Minute
)

// adapterID was drawn once. Windows knows an adapter by it, and remembers what network it is in.
var adapterID = windows.GUID{
	Data1: 0x3f3b6d0e, Data2: 0x7a1c, Data3: 0x4e5b, Data4: [8]byte{0x9c, 0x62, 0x0d, 0x5e, 0xb8, 0x41, 0x27, 0xa6},
}

// Adapter is a network adapter of the WireGuardNT driver. It is there from [OpenAdapter] until
// [Adapter.Close], or until the process ends, and it always is the same one to Windows. Except
// while an [Interface] stands on it it is down and has no key, no peer, no address and no route,
// and from the start nothing gets in or out but what [Interface.Allow] lets in. Its methods may be
// called concurrently.
type Adapter struct {
	name    string
	version string // of the driver
	log     *slog.Logger
	host    *host

	mu     sync.Mutex
	handle *driver.Adapter // nil when there is none
	luid   winipcfg.LUID
	filter *filter
	busy   bool // an interface stands on it
	closed bool
}

// OpenAdapter loads the driver and makes the adapter, which needs the rights of an administrator.
// Just after the start of Windows it may take a quarter of a minute, until ctx ends. When it
// fails, nothing of it stays behind but the library in this process. A process works with one
// wireguard.dll only. The caller closes the adapter, after the interface that stands on it.
func OpenAdapter(ctx context.Context, c AdapterConfig) (*Adapter, error) {
	return openAdapter(ctx, c, windowsHost())
}

// openAdapter is OpenAdapter on some computer.
func openAdapter(ctx context.Context, c AdapterConfig, on *host) (*Adapter, error) {
	a := &Adapter{name: cmp.Or(c.Name, defaultAdapterName), log: c.Logger, host: on}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if err := load(c.DLL); err != nil {
		return nil, fmt.Errorf("open the WireGuardNT adapter: %w", err)
	}
	listenTo(a.log)
	if err := a.create(ctx); err != nil {
		listenTo(nil)
		return nil, fmt.Errorf("open the WireGuardNT adapter: %w", err)
	}
	if v, err := driver.RunningVersion(); err == nil {
		a.version = fmt.Sprintf("%d.%d", v>>16, v&0xffff)
	}
	return a, nil
}

// Name returns what people see in the list of adapters.
func (a *Adapter) Name() string { return a.name }

// Version returns the version of the driver that runs, as 1.0, or "" when it did not say.
func (a *Adapter) Version() string { return a.version }

// Close removes the adapter. It may be called more than once.
func (a *Adapter) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	defer listenTo(nil)
	if err := a.destroyLocked(); err != nil {
		return fmt.Errorf("close the WireGuardNT adapter: %w", err)
	}
	return nil
}

// create makes the adapter, down and empty, with the filter in front of it.
func (a *Adapter) create(ctx context.Context) error {
	handle, err := a.createHandle(ctx)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		_ = handle.Close() // it cannot fail, and its result is none
		return net.ErrClosed
	}
	a.handle, a.luid = handle, handle.LUID()
	a.filter, err = newFilter(a.host.firewall, uint64(a.luid))
	if err == nil {
		err = a.restLocked()
	}
	if err != nil {
		return errors.Join(err, a.destroyLocked())
	}
	if err := handle.SetLogging(driver.AdapterLogOn); err != nil {
		a.log.Debug("wireguard driver", "reason", "it does not log", "err", err)
	}
	return nil
}

// createHandle asks the driver for the adapter. Windows removes one that a dead process left.
func (a *Adapter) createHandle(ctx context.Context) (*driver.Adapter, error) {
	attempts := laterAttempts
	if a.host.sinceBoot() < justBooted {
		attempts = bootAttempts
	}
	for attempt := 1; ; attempt++ {
		handle, err := driver.CreateAdapter(a.name, adapterType, &adapterID)
		if err == nil {
			return handle, nil
		}
		if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
			return nil, fmt.Errorf("make adapter %s: %w; run this as an administrator, or as a service", a.name, err)
		}
		if attempt == attempts {
			return nil, fmt.Errorf("make adapter %s: %w", a.name, err)
		}
		a.log.Debug("wireguard driver", "reason", "it is not ready yet", "err", err)
		again := time.NewTimer(createPause)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return nil, fmt.Errorf("make adapter %s: %w", a.name, errors.Join(context.Cause(ctx), err))
		}
	}
}

// destroyLocked removes the adapter, whatever fails on the way.
func (a *Adapter) destroyLocked() error {
	if a.handle == nil {
		return nil
	}
	resting := a.restLocked()
	_ = a.handle.Close() // as above
	a.handle = nil
	if a.filter == nil {
		return resting
	}
	err := errors.Join(resting, a.filter.close())
	a.filter = nil
	return err
}

// rest takes the adapter down, then makes it forget its peers and its key, then all that Windows
// knows about it.
func (a *Adapter) rest() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.restLocked()
}

func (a *Adapter) restLocked() error {
	if a.handle == nil {
		return nil
	}
	var nothing driver.ConfigBuilder
	nothing.AppendInterface(&driver.Interface{
		Flags: driver.InterfaceHasPrivateKey | driver.InterfaceHasListenPort | driver.InterfaceReplacePeers,
	})
	down := a.handle.SetAdapterState(driver.AdapterStateDown)
	empty := a.handle.SetConfiguration(nothing.Interface())
	return errors.Join(
		wrapped("take the adapter down", down),
		wrapped("empty the adapter", empty),
		wrapped("take address and route off the adapter", a.host.disconnect(a.luid)),
	)
}

// take makes the caller the only one who stands on the adapter, until release.
func (a *Adapter) take() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return fmt.Errorf("adapter %s: %w", a.name, net.ErrClosed)
	case a.busy:
		return fmt.Errorf("adapter %s: %w", a.name, ErrAdapterInUse)
	}
	a.busy = true
	return nil
}

func (a *Adapter) release() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy = false
	return nil
}

// with calls f with what the driver knows the adapter by. Its calls must not come at once.
func (a *Adapter) with(f func(*driver.Adapter) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.handle == nil {
		return fmt.Errorf("adapter %s: %w", a.name, net.ErrClosed)
	}
	return f(a.handle)
}

// wrapped says what was being done when err, which may be nil, came.
func wrapped(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
