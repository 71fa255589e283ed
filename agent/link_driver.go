package agent

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"borealis/agent/driver"
	"borealis/agent/wire"
)

// approvedEvery is how often a device that waits to be approved looks whether it is.
const approvedEvery = 10 * time.Second

// keepDriver gets the driver that the engine keeps for its agents, if this device has none and
// would use it. The agent stands on it from its next start on. It returns when that is done, when
// ctx ends, or when it is not to be.
func (a *Agent) keepDriver(ctx context.Context, c *connection) {
	f := c.welcome.Driver
	if f == nil || !a.plane.wanting || !a.approved(ctx) {
		return
	}
	if err := a.storeDriver(ctx, *f); err != nil {
		if ctx.Err() == nil {
			a.log.Warn("driver_not_kept", "err", err)
		}
		return
	}
	a.log.Info("driver_kept", "reason", "the tunnels stand on it from the agent's next start on")
}

// approved waits until the engine serves files to this device.
func (a *Agent) approved(ctx context.Context) bool {
	again := time.NewTicker(approvedEvery)
	defer again.Stop()
	for a.Status().State != "active" {
		select {
		case <-ctx.Done():
			return false
		case <-again.C:
		}
	}
	return true
}

// storeDriver fetches a driver and puts it where it belongs. One that came whole is tried once in
// the life of the agent.
func (a *Agent) storeDriver(ctx context.Context, f wire.File) error {
	if f.Size > driver.MaxSize {
		a.plane.wanting = false
		return fmt.Errorf("the WireGuardNT driver of the engine has %d bytes; it may have %d", f.Size, driver.MaxSize)
	}
	var content bytes.Buffer
	if err := a.fetch(ctx, f, &content); err != nil {
		return err
	}
	a.plane.wanting = false
	return driver.Keep(a.data, f.SHA256, f.Size, &content)
}
