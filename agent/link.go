package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/agent/driver"
	"borealis/tunnel/token"
	"borealis/tunnel/wg"
)

// A dataplane is what this agent's tunnels stand on, chosen once for the agent's whole life.
type dataplane struct {
	mode    wg.Mode
	reason  string // Why it is this one, in one sentence.
	driver  string // Version of the driver in use, or "".
	wanting bool   // A driver that is not there would be used.
	adapter *wg.Adapter
	log     *slog.Logger
}

const (
	inAgent = "WireGuard and its network stay inside the agent; nothing of the host is touched."
	asked   = "The agent was started with this choice."
)

// platform is where the driver of an operating system comes from. Only Windows has one.
type platform struct {
	find func() (driver.Driver, error)
	open func(context.Context, wg.AdapterConfig) (*wg.Adapter, error)
}

// openDataplane chooses what the tunnels stand on, for an agent with a data root. The caller
// closes it.
func openDataplane(ctx context.Context, data string, mode wg.Mode, log *slog.Logger) (*dataplane, error) {
	var p *platform
	if runtime.GOOS == "windows" {
		p = &platform{find: func() (driver.Driver, error) { return driver.Find(data) }, open: wg.OpenAdapter}
	}
	d, err := choose(ctx, mode, p, log)
	if err != nil {
		return nil, err
	}
	log.Info("dataplane_open", "mode", d.mode, "reason", d.reason)
	return d, nil
}

// choose takes the driver when there is one, unless mode says otherwise. The platform is nil where
// there is none. When ctx has ended, what is chosen does not matter: no tunnel will be up.
func choose(ctx context.Context, mode wg.Mode, p *platform, log *slog.Logger) (*dataplane, error) {
	d := &dataplane{mode: wg.Netstack, reason: inAgent, log: log}
	switch {
	case mode == wg.Netstack:
		d.reason = asked
		return d, nil
	case p == nil && mode == wg.NT:
		return nil, fmt.Errorf("link %s on %s: %w: it is for Windows", mode, runtime.GOOS, errors.ErrUnsupported)
	case p == nil:
		return d, nil
	}
	err := d.useDriver(ctx, p)
	switch {
	case err == nil && mode == wg.NT:
		d.reason = asked
	case err == nil:
		d.reason = "The driver of an administrator is on this device."
	case mode == wg.NT && ctx.Err() == nil:
		return nil, fmt.Errorf("link %s: %w", mode, err)
	case errors.Is(err, driver.ErrAbsent):
		d.wanting = true
		d.reason = "There is no WireGuardNT driver on this device. " + inAgent
	default:
		log.Warn("driver_unusable", "err", err)
		d.reason = "WireGuardNT cannot be used: " + strings.ReplaceAll(err.Error(), "\n", "; ") + ". " + inAgent
	}
	return d, nil
}

// useDriver makes the tunnels stand on the driver, if it is there and works.
func (d *dataplane) useDriver(ctx context.Context, p *platform) error {
	found, err := p.find()
	if err != nil {
		return err
	}
	adapter, err := p.open(ctx, wg.AdapterConfig{DLL: found.Path, Logger: d.log})
	if err != nil {
		return err
	}
	d.mode, d.adapter, d.driver = wg.NT, adapter, adapter.Version()
	if d.driver == "" {
		d.driver = found.Version
	}
	return nil
}

// open opens the interface of one tunnel, with the key of this tunnel and without a peer.
func (d *dataplane) open(ctx context.Context, private wgtypes.Key, claims token.Claims) (*wg.Interface, error) {
	return wg.Open(ctx, wg.Config{
		Mode: d.mode, Name: linkName, PrivateKey: private, Address: claims.VirtualIP,
		Route: netip.PrefixFrom(claims.EngineIP, 32), Adapter: d.adapter, Logger: d.log,
	})
}

// close gives back what the dataplane holds between tunnels.
func (d *dataplane) close() error {
	if d.adapter == nil {
		return nil
	}
	return d.adapter.Close()
}
