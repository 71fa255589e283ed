// Package engine puts together everything that serves on a data root.
package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"borealis/agent/wire"
	"borealis/cmd/hint"
	"borealis/handlers"
	"borealis/static/downloads"
	"borealis/store"
	"borealis/tunnel"
	"borealis/tunnel/keys"
	"borealis/tunnel/wg"
)

// An Engine is everything that serves, put together. Its parts are for whoever looks at them while
// it runs: [Start] opens and [Engine.Close] closes them. Its methods are safe for concurrent use.
type Engine struct {
	Store    *store.Store
	Keys     *keys.Engine
	Manager  *tunnel.Manager
	Handlers *handlers.Server

	config   Config
	server   *http.Server
	listener net.Listener
	served   chan error
	stopped  atomic.Bool // nobody is served any more
	figures  figures
	admin    admin
	sent     func() (int64, error) // how far the log server has got; nil: there is none

	background []func() // end what signs the audit trail and sends it away
}

// Start brings an engine up on a data root that was made before. It serves until the caller
// closes it, also when ctx ends. What can be done about an error is a [hint.Error].
func Start(ctx context.Context, c Config) (_ *Engine, err error) {
	e := &Engine{config: c, served: make(chan error, 1), figures: newFigures(&c)}
	defer func() {
		if err != nil {
			e.Close()
		}
	}()
	if e.Store, err = c.Data.OpenStore(ctx); err != nil {
		return nil, err
	}
	if e.listener, err = listen(ctx, c.Listen); err != nil {
		return nil, &hint.Error{Err: fmt.Errorf("listen for browsers and agents: %w", err), Hint: "another engine may be running; choose another address with --listen"}
	}
	if err = e.openAdmin(ctx); err != nil {
		return nil, err
	}
	box, err := c.Seal.Open(c.Data)
	if err != nil {
		return nil, err
	}
	if e.Keys, err = keys.OpenEngine(c.Data.Certificates(), e.names(), box); err != nil {
		return nil, fmt.Errorf("open the engine's keys: %w", err)
	}
	if c.TLSCert != "" {
		if e.Keys.Web, err = tls.LoadX509KeyPair(c.TLSCert, c.TLSKey); err != nil {
			return nil, fmt.Errorf("load the web certificate: %w", err)
		}
	}
	if err = e.Store.SetSetting(ctx, AddressSetting, e.AgentAddress()); err != nil {
		return nil, fmt.Errorf("record the engine's address: %w", err)
	}
	drivers, err := downloads.OpenDrivers(string(c.Data), c.Logger)
	if err != nil {
		return nil, &hint.Error{Err: err, Hint: "the engine's user must be able to write to the data root " + string(c.Data)}
	}
	e.Manager, err = tunnel.Open(ctx, tunnel.Config{
		Store: e.Store, Keys: e.Keys, Pool: c.Pool, PublicEndpoint: c.PublicEndpoint, Addresses: c.AlsoAt, Idle: c.Idle, MaxDuration: c.MaxDuration, Logger: c.Logger,
		Link: wg.Config{Mode: c.Link, Name: c.LinkName, ListenPort: c.UDPPort}, HostUsers: c.HostUsers,
		Driver:  func(arch string) *wire.File { return driverFile(drivers, arch) },
		Observe: e.figures.Observer(),
	})
	if err != nil {
		return nil, fmt.Errorf("start the tunnel manager: %w", err)
	}
	e.Handlers, err = handlers.New(handlers.Config{
		Store: e.Store, Manager: e.Manager, Keys: e.Keys, Hosts: e.names(), PublicAddress: e.AgentAddress,
		Version: Version(), Demo: c.Demo, Logger: c.Logger,
		Box: box, StepUp: c.StepUp, TrustedProxies: c.Proxies, OIDC: c.OIDC, Checkpoints: c.Data.Checkpoints(),
		Drivers: drivers,
	})
	if err != nil {
		return nil, fmt.Errorf("make the console: %w", err)
	}
	if err = e.startAudit(ctx); err != nil {
		return nil, err
	}
	e.figures.attach(e)
	e.server = e.Handlers.HTTPServer()
	guarded := e.Handlers.Listener(e.listener)
	go func() {
		err := e.server.Serve(tls.NewListener(guarded, e.Handlers.TLSConfig()))
		e.stopped.Store(true)
		e.served <- err
	}()
	e.startAdmin()
	c.Logger.InfoContext(ctx, "engine_started", "addr", e.listener.Addr().String())
	return e, nil
}

// driverFile is the driver for a processor as agents are told of it, or nil.
func driverFile(drivers *downloads.Drivers, arch string) *wire.File {
	f, err := drivers.For(arch)
	if err != nil {
		return nil
	}
	return &wire.File{SHA256: f.SHA256, Size: f.Size}
}

// Healthy answers whether the engine can do its work: its manager is not stuck, and its database is
// in reach.
func (e *Engine) Healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := e.Manager.Responds(ctx); err != nil {
		return err
	}
	_, _, err := e.Store.Head(ctx)
	return err
}

// Wait waits until ctx ends, which is no error, or the listener or the database fails.
func (e *Engine) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-e.served:
		return fmt.Errorf("serve: %w", err)
	case <-e.Store.Failed():
		e.config.Logger.ErrorContext(ctx, "database_failed", "err", e.Store.Err())
		return diskHint(e.Store.Err())
	}
}

// Close undoes Start in reverse: tunnels first, so that agents are told. It returns when nothing of
// the engine runs any more. Twice does no harm.
func (e *Engine) Close() {
	if e.Handlers != nil {
		e.Handlers.Stopping() // first, so that nobody is sent here any more
	}
	if e.Manager != nil {
		e.Manager.Close()
	}
	if e.Handlers != nil {
		e.Handlers.Close()
	}
	if e.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := e.server.Shutdown(ctx); err != nil && !errors.Is(err, http.ErrServerClosed) {
			e.server.Close()
		}
	} else if e.listener != nil {
		e.listener.Close()
	}
	e.admin.close()
	for _, end := range slices.Backward(e.background) { // last: what ended is signed too
		end()
	}
	if e.Store != nil {
		if err := e.Store.Close(); err != nil {
			e.config.Logger.Error("store_close", "err", err)
		}
	}
}
