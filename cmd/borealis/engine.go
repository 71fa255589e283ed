package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"borealis/agent/wire"
	"borealis/handlers"
	"borealis/handlers/oidc"
	"borealis/static/downloads"
	"borealis/store"
	"borealis/store/audit"
	"borealis/tunnel"
	"borealis/tunnel/keys"
	"borealis/tunnel/wg"
)

// addressSetting is where a serving engine leaves the address that agents dial, for
// the commands that make enrolment codes.
const addressSetting = "agent_address"

// dataRoot knows where things are in an engine's data root.
type dataRoot string

func (d dataRoot) database() string     { return filepath.Join(string(d), "Engine", "borealis.db") }
func (d dataRoot) certificates() string { return filepath.Join(string(d), "Engine", "Certificates") }

func (d dataRoot) log() string {
	return filepath.Join(string(d), "Engine", "Logs", "reverse_tunnel.log")
}

// openStore opens the database of a data root that was made before.
func (d dataRoot) openStore(ctx context.Context) (*store.Store, error) {
	if err := d.made(); err != nil {
		return nil, err
	}
	return store.Open(ctx, d.database())
}

// made says what is wrong when there is no engine in the data root.
func (d dataRoot) made() error {
	if _, err := os.Stat(d.database()); err != nil {
		return &hintError{
			fmt.Errorf("open the data root %s: %w", string(d), err),
			fmt.Sprintf("make it with \"borealis init --data %s\", or name another one with --data", string(d)),
		}
	}
	return nil
}

// engineConfig is what "serve" and "demo" can set.
type engineConfig struct {
	data           dataRoot
	listen         string
	udpPort        int
	publicEndpoint string
	link           wg.Mode
	linkName       string
	pool           netip.Prefix
	hostUsers      bool
	idle           time.Duration
	tlsCert        string
	tlsKey         string
	hosts          []string
	demo           bool
	sealed         sealFlags
	stepUp         string
	proxies        []netip.Prefix
	oidc           *oidc.Config
	syslog         syslogFlags
	log            *slog.Logger
}

// An engine is everything that serves, put together.
type engine struct {
	config   engineConfig
	store    *store.Store
	keys     *keys.Engine
	manager  *tunnel.Manager
	handlers *handlers.Server
	server   *http.Server
	listener net.Listener
	served   chan error

	background []func() // end what signs the audit trail and sends it away
}

// startEngine brings an engine up on a data root that was made before.
// The caller closes it.
func startEngine(ctx context.Context, c engineConfig) (_ *engine, err error) {
	e := &engine{config: c, served: make(chan error, 1)}
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	if e.store, err = c.data.openStore(ctx); err != nil {
		return nil, err
	}
	if e.listener, err = listen(ctx, c.listen); err != nil {
		return nil, &hintError{fmt.Errorf("listen for browsers and agents: %w", err), "another engine may be running; choose another address with --listen"}
	}
	box, err := c.sealed.open(c.data)
	if err != nil {
		return nil, err
	}
	if e.keys, err = keys.OpenEngine(c.data.certificates(), e.names(), box); err != nil {
		return nil, fmt.Errorf("open the engine's keys: %w", err)
	}
	if c.tlsCert != "" {
		if e.keys.Web, err = tls.LoadX509KeyPair(c.tlsCert, c.tlsKey); err != nil {
			return nil, fmt.Errorf("load the web certificate: %w", err)
		}
	}
	if err = e.store.SetSetting(ctx, addressSetting, e.agentAddress()); err != nil {
		return nil, fmt.Errorf("record the engine's address: %w", err)
	}
	drivers, err := downloads.OpenDrivers(string(c.data), c.log)
	if err != nil {
		return nil, &hintError{err, "the engine's user must be able to write to the data root " + string(c.data)}
	}
	e.manager, err = tunnel.Open(ctx, tunnel.Config{
		Store: e.store, Keys: e.keys, Pool: c.pool, PublicEndpoint: c.publicEndpoint, Idle: c.idle, Logger: c.log,
		Link: wg.Config{Mode: c.link, Name: c.linkName, ListenPort: c.udpPort}, HostUsers: c.hostUsers,
		Driver: func(arch string) *wire.File { return driverFile(drivers, arch) },
	})
	if err != nil {
		return nil, fmt.Errorf("start the tunnel manager: %w", err)
	}
	e.handlers, err = handlers.New(handlers.Config{
		Store: e.store, Manager: e.manager, Keys: e.keys, Hosts: e.names(), PublicAddress: e.agentAddress,
		Version: version(), Demo: c.demo, Logger: c.log,
		Box: box, StepUp: c.stepUp, TrustedProxies: c.proxies, OIDC: c.oidc, Checkpoints: c.data.checkpoints(),
		Drivers: drivers,
	})
	if err != nil {
		return nil, fmt.Errorf("make the console: %w", err)
	}
	if err = e.startAudit(ctx); err != nil {
		return nil, err
	}
	e.server = e.handlers.HTTPServer()
	guarded := e.handlers.Listener(e.listener)
	go func() { e.served <- e.server.Serve(tls.NewListener(guarded, e.handlers.TLSConfig())) }()
	c.log.InfoContext(ctx, "engine_started", "addr", e.listener.Addr().String())
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

// healthy answers whether the engine can do its work: its database is in reach.
func (e *engine) healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, _, err := e.store.Head(ctx)
	return err
}

// wait serves until ctx ends or the listener fails.
func (e *engine) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-e.served:
		return fmt.Errorf("serve: %w", err)
	}
}

// close undoes startEngine in reverse: tunnels first, so that agents are told.
func (e *engine) close() {
	if e.manager != nil {
		e.manager.Close()
	}
	if e.handlers != nil {
		e.handlers.Close()
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
	for _, end := range slices.Backward(e.background) { // last: what ended is signed too
		end()
	}
	if e.store != nil {
		if err := e.store.Close(); err != nil {
			e.config.log.Error("store_close", "err", err)
		}
	}
}

// listenGrace is how long an address may be in use by what a killed engine left: a child
// that it was about to start holds the socket for a moment longer.
const listenGrace = time.Second

// listen listens on a TCP address.
func listen(ctx context.Context, address string) (net.Listener, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for giveUp := time.After(listenGrace); ; {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
		select {
		case <-tick.C:
		case <-giveUp:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// startAudit starts what signs the audit trail and sends it away.
func (e *engine) startAudit(ctx context.Context) error {
	signing := audit.Config{
		Store: e.store, Key: e.keys.Audit, Vouch: e.keys.AuditKey().Signature, File: e.config.data.checkpoints(), Logger: e.config.log,
	}
	if e.config.syslog.address != "" {
		forwarder, err := e.config.syslog.forwarder(e)
		if err != nil {
			return err
		}
		signing.Notify = forwarder.Checkpoint
		e.begin(ctx, forwarder.Run)
	}
	signer, err := audit.NewSigner(signing)
	if err != nil {
		return fmt.Errorf("sign the audit trail: %w", err)
	}
	e.begin(ctx, signer.Run) // after the forwarder, and so ended before it: the last checkpoint is sent
	return nil
}

// begin starts what works until the engine is closed.
func (e *engine) begin(ctx context.Context, run func(context.Context) error) {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := run(life); err != nil {
			e.config.log.ErrorContext(life, "audit_failed", "err", err)
		}
	}()
	e.background = append(e.background, func() {
		stop()
		<-ended
	})
}

func (e *engine) port() int { return e.listener.Addr().(*net.TCPAddr).Port }

// host is the name or address that people and agents use for this engine.
func (e *engine) host() string {
	if h := e.config.publicEndpoint; h != "" {
		if name, _, err := net.SplitHostPort(h); err == nil {
			return name
		}
		return h
	}
	if ip := e.listener.Addr().(*net.TCPAddr).IP; !ip.IsUnspecified() {
		return ip.String()
	}
	if name, err := os.Hostname(); err == nil {
		return name
	}
	return "localhost"
}

func (e *engine) agentAddress() string { return net.JoinHostPort(e.host(), strconv.Itoa(e.port())) }

func (e *engine) url() string { return "https://" + e.agentAddress() }

// names are what browsers may call this engine, and what a self-signed web certificate
// is made for.
func (e *engine) names() []string {
	hosts := append([]string{"localhost", "127.0.0.1", "::1", e.host()}, e.config.hosts...)
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// openLog opens reverse_tunnel.log for lines of "event key=value", which also go to
// the other handlers. The caller closes the file.
func openLog(path string, also slog.Handler) (*slog.Logger, *os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the log folder: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open the log: %w", err)
	}
	return slog.New(slog.NewMultiHandler(slog.NewTextHandler(f, nil), also)), f, nil
}
