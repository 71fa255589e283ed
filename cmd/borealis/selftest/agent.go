package selftest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"

	"borealis/agent"
	"borealis/agent/wire"
	"borealis/cmd/borealis/engine"
	"borealis/store"
	"borealis/tunnel/wg"
)

// A rigAgent is a real agent in this process.
type rigAgent struct {
	name    string
	data    string
	device  string // its id
	log     *slog.Logger
	logFile io.Closer

	agent *agent.Agent // that runs; nil while none does
	stop  context.CancelFunc
	done  chan error
}

// logPath is where an agent's log is.
func (a *rigAgent) logPath() string {
	return filepath.Join(a.data, "Agent", "Logs", "reverse_tunnel.log")
}

// newCode asks the console for an enrolment code that leads agents through the relay.
func (m *matrix) newCode(ctx context.Context) (wire.Code, error) {
	var made struct{ Code string }
	err := m.web.call(ctx, http.MethodPost, "/api/codes", map[string]any{"auto_approve": true}, &made)
	if err != nil {
		return wire.Code{}, err
	}
	code, err := wire.ParseCode(made.Code)
	if err != nil {
		return wire.Code{}, err
	}
	m.secrets["enrolment code "+code.Secret[:4]] = []byte(code.Secret)
	code.Address = m.relay.address()
	return code, nil
}

// enrol enrols a device by a code and lets it in. It does not run yet.
func (m *matrix) enrol(ctx context.Context, name string) (_ *rigAgent, err error) {
	a := &rigAgent{name: name, data: filepath.Join(m.dir, name)}
	if a.log, a.logFile, err = engine.OpenLog(a.logPath(), slog.LevelDebug, slog.DiscardHandler); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			a.logFile.Close()
		}
	}()
	code, err := m.newCode(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := agent.Enrol(ctx, agent.EnrolConfig{Data: a.data, Code: code.String(), Hostname: "selftest-" + name, Version: engine.Version(), Logger: a.log})
	if err != nil {
		return nil, err
	}
	a.device = answer.DeviceID
	if answer.State == store.Active {
		return a, nil
	}
	// It runs on the machine of another one, so somebody has to decide.
	return a, m.web.call(ctx, http.MethodPost, "/api/devices/"+a.device+"/approve", map[string]any{"decision": store.KeepBoth}, nil)
}

// run starts the agent.
func (a *rigAgent) run(ctx context.Context) error {
	one, err := agent.Open(agent.Config{Data: a.data, Link: wg.Netstack, Shell: "/bin/sh", Version: engine.Version(), Logger: a.log})
	if err != nil {
		return fmt.Errorf("start agent %s: %w", a.name, err)
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.agent, a.stop, a.done = one, stop, make(chan error, 1)
	go func() { a.done <- one.Run(life) }()
	return nil
}

// end stops the agent as a service manager would.
func (a *rigAgent) end() error {
	if a.agent == nil {
		return nil
	}
	a.agent = nil
	a.stop()
	return <-a.done
}

func (a *rigAgent) close() error {
	err := a.end()
	a.logFile.Close()
	return err
}

// online waits until the engine sees a device's agent, or does not any more.
func (m *matrix) online(ctx context.Context, device string, want bool) error {
	if m.engine.Await(ctx, device, want) != nil {
		return fmt.Errorf("waited in vain for the agent to be online: %t", want)
	}
	return nil
}

// back makes the agents dial at once and waits until both ends know of each other.
func (m *matrix) back(ctx context.Context, agents ...*rigAgent) error {
	for _, a := range agents {
		a.agent.Nudge("self-test")
	}
	for _, a := range agents {
		if err := m.online(ctx, a.device, true); err != nil {
			return err
		}
		for !a.agent.Status().Connected {
			if err := wait(ctx, pollEvery); err != nil {
				return fmt.Errorf("agent %s does not know that it is connected: %w", a.name, err)
			}
		}
	}
	return nil
}
