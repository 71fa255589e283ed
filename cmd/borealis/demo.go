package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"borealis/agent"
	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel/wg"
)

const demoOperator = "admin"

// demoReady is what demo says with --json when it is ready.
type demoReady struct {
	ready
	Operator string `json:"operator"`
	Password string `json:"password"`
	APIToken string `json:"api_token"`
	DeviceID string `json:"device_id"`
}

// demo runs the main job in one process and without root: an engine, an agent on
// this machine, and WireGuard between the two over loopback.
func (c *console) demo(ctx context.Context, args []string) error {
	f := c.flags("demo", "runs engine, agent and terminal in one process, without root")
	config := engineConfig{link: wg.Netstack, linkName: "borealis0", demo: true, stepUp: "never"}
	f.StringVar(&config.listen, "listen", "127.0.0.1:8443", "TCP `ADDRESS` for the browser")
	f.DurationVar(&config.idle, "idle", 15*time.Minute, "end a tunnel after this time without operator activity")
	data := f.String("data", "", "`DIR` to keep the demo's data in; empty means a temporary one")
	asJSON := f.Bool("json", false, "print one JSON object when ready")
	endpointFlags(f, &config)
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	if err := config.check(string(wg.Netstack)); err != nil {
		return err
	}
	if *data == "" {
		dir, err := os.MkdirTemp("", "borealis-demo-")
		if err != nil {
			return fmt.Errorf("make a folder for the demo: %w", err)
		}
		defer os.RemoveAll(dir)
		*data = filepath.Join(dir, "data") // the key that seals it is beside it
	}
	config.data = dataRoot(*data)
	log, file, err := openLog(config.data.log(), slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if err != nil {
		return err
	}
	defer file.Close()
	config.log = log
	return c.runDemo(ctx, config, *asJSON)
}

func (c *console) runDemo(ctx context.Context, config engineConfig, asJSON bool) (err error) {
	password, err := demoPassword(ctx, config.data, config.sealed)
	if err != nil {
		return err
	}
	e, err := startEngine(ctx, config)
	if err != nil {
		return err
	}
	defer e.close()
	a, id, err := e.demoAgent(ctx)
	if err != nil {
		return err
	}
	agentCtx, stopAgent := context.WithCancel(ctx)
	agentDone := make(chan error, 1)
	go func() { agentDone <- a.Run(agentCtx) }()
	defer func() {
		stopAgent()
		err = errors.Join(err, <-agentDone)
	}()
	token, err := addToken(ctx, e.store, demoOperator, "demo", 24*time.Hour)
	if err != nil {
		return err
	}
	if err := e.awaitOnline(ctx, id); err != nil {
		return err
	}
	if err := c.tellDemo(demoReady{e.ready(), demoOperator, password, token, id}, asJSON); err != nil {
		return err
	}
	return e.wait(ctx)
}

func (c *console) tellDemo(d demoReady, asJSON bool) error {
	if asJSON {
		return c.printJSON(d)
	}
	_, err := fmt.Fprintf(c.stderr, `
  Borealis demo: engine, agent and terminal in this process, WireGuard on UDP port %d.

    open      %s
    operator  %s
    password  %s

  The browser warns about the certificate, which is self-signed: go on. Then open the
  device, press Connect, and type. Ctrl-C here ends the demo and leaves nothing behind.

`, d.UDPPort, d.URL, d.Operator, d.Password)
	return err
}

// demoPassword makes the data root when it is new and returns a fresh password of
// its operator.
func demoPassword(ctx context.Context, root dataRoot, sealed sealFlags) (password string, err error) {
	if _, err := os.Stat(root.database()); errors.Is(err, os.ErrNotExist) {
		return initialise(ctx, root, demoOperator, sealed)
	}
	s, err := root.openStore(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	o, err := s.OperatorByName(ctx, demoOperator)
	if errors.Is(err, store.ErrNotFound) {
		return addOperator(ctx, s, store.Operator{Name: demoOperator, Role: access.Admin})
	} else if err != nil {
		return "", err
	}
	password, hash, err := newPassword()
	if err != nil {
		return "", err
	}
	return password, s.SetPassword(ctx, o.ID, hash, done())
}

// demoAgent enrols an agent on this machine and returns it with its device id.
// On the data of an earlier demo it is the same device again.
func (e *engine) demoAgent(ctx context.Context) (*agent.Agent, string, error) {
	data := filepath.Join(string(e.config.data), "agent")
	config := agent.Config{Data: data, Link: wg.Netstack, Version: version(), Logger: e.config.log}
	code, err := addCode(ctx, e.store, e.keys.Identity.Pin(), e.agentAddress(), store.Code{
		Uses: 1, AutoApprove: true, CreatedBy: "demo", CreatedAt: time.Now(), ExpiresAt: time.Now().Add(10 * time.Minute),
	})
	if err != nil {
		return nil, "", err
	}
	enrolled, err := agent.Enrol(ctx, agent.EnrolConfig{Data: data, Code: code, Logger: e.config.log})
	if err != nil {
		return nil, "", fmt.Errorf("enrol the demo's agent: %w", err)
	}
	a, err := agent.Open(config)
	return a, enrolled.DeviceID, err
}

// awaitOnline waits until a device's agent is connected.
func (e *engine) awaitOnline(ctx context.Context, id string) error {
	events, stop := e.manager.Watch()
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if _, online := e.manager.Online(id); online {
			return nil
		}
		select {
		case <-events:
		case <-ctx.Done():
			return fmt.Errorf("wait for the demo's agent: %w", context.Cause(ctx))
		}
	}
}
