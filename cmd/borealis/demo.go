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
	"borealis/cmd/borealis/engine"
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
	config := engine.Config{Link: wg.Netstack, LinkName: "borealis0", Demo: true, StepUp: "never"}
	f.StringVar(&config.Listen, "listen", "127.0.0.1:8443", "TCP `ADDRESS` for the browser")
	f.DurationVar(&config.Idle, "idle", 15*time.Minute, "end a tunnel after this time without operator activity")
	data := f.String("data", "", "`DIR` to keep the demo's data in; empty means a temporary one")
	asJSON := f.Bool("json", false, "print one JSON object when ready")
	endpointFlags(f, &config)
	if _, err := c.parse(f, args); err != nil {
		return err
	}
	if err := checkConfig(&config, string(wg.Netstack)); err != nil {
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
	config.Data = engine.Root(*data)
	release, err := config.Data.Hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	log, file, err := engine.OpenLog(config.Data.Log(), slog.LevelInfo, slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if err != nil {
		return err
	}
	defer file.Close()
	config.Logger = log
	return c.runDemo(ctx, config, *asJSON)
}

func (c *console) runDemo(ctx context.Context, config engine.Config, asJSON bool) (err error) {
	password, err := demoPassword(ctx, config.Data, config.Seal)
	if err != nil {
		return err
	}
	e, err := engine.Start(ctx, config)
	if err != nil {
		return err
	}
	defer e.Close()
	a, id, err := demoAgent(ctx, e, config)
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
	token, err := engine.AddToken(ctx, e.Store, demoOperator, "demo", 24*time.Hour)
	if err != nil {
		return err
	}
	if err := awaitDemo(ctx, e, id); err != nil {
		return err
	}
	if err := c.tellDemo(demoReady{readyOf(e, config.Data), demoOperator, password, token, id}, asJSON); err != nil {
		return err
	}
	return e.Wait(ctx)
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
func demoPassword(ctx context.Context, root engine.Root, sealed engine.Seal) (password string, err error) {
	if _, err := os.Stat(root.Database()); errors.Is(err, os.ErrNotExist) {
		return engine.Init(ctx, root, demoOperator, sealed)
	}
	s, err := root.OpenStore(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	o, err := s.OperatorByName(ctx, demoOperator)
	if errors.Is(err, store.ErrNotFound) {
		return engine.AddOperator(ctx, s, store.Operator{Name: demoOperator, Role: access.Admin})
	} else if err != nil {
		return "", err
	}
	password, hash, err := engine.NewPassword()
	if err != nil {
		return "", err
	}
	return password, s.SetPassword(ctx, o.ID, hash, engine.LocalRecord())
}

// demoAgent enrols an agent on this machine and returns it with its device id.
// On the data of an earlier demo it is the same device again.
func demoAgent(ctx context.Context, e *engine.Engine, config engine.Config) (*agent.Agent, string, error) {
	data := filepath.Join(string(config.Data), "agent")
	code, err := engine.AddCode(ctx, e.Store, e.Keys.Identity.Pin(), e.AgentAddress(), store.Code{
		Uses: 1, AutoApprove: true, CreatedBy: "demo", CreatedAt: time.Now(), ExpiresAt: time.Now().Add(10 * time.Minute),
	})
	if err != nil {
		return nil, "", err
	}
	enrolled, err := agent.Enrol(ctx, agent.EnrolConfig{Data: data, Code: code, Logger: config.Logger})
	if err != nil {
		return nil, "", fmt.Errorf("enrol the demo's agent: %w", err)
	}
	a, err := agent.Open(agent.Config{Data: data, Link: wg.Netstack, Version: engine.Version(), Logger: config.Logger})
	return a, enrolled.DeviceID, err
}

// awaitDemo waits until the demo's agent is connected.
func awaitDemo(ctx context.Context, e *engine.Engine, device string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := e.Await(ctx, device, true); err != nil {
		return fmt.Errorf("wait for the demo's agent: %w", err)
	}
	return nil
}
