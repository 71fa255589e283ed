package agent

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// Status is what an agent is doing. In JSON it is a contract with scripts.
type Status struct {
	PID        int       `json:"pid"`
	Version    string    `json:"version"` // Of the program.
	Connected  bool      `json:"connected"`
	State      string    `json:"state"`          // Of the device at the engine, pending or active; "" before the first connection.
	Since      time.Time `json:"since,omitzero"` // Of Connected's last change; zero before the first connection.
	Engine     string    `json:"engine"`         // The engine's host:port.
	Tunnel     string    `json:"tunnel"`         // The id of the tunnel it holds, or "". It is held until nothing of it is left.
	Up         bool      `json:"up"`             // The tunnel's way was open, out and back.
	LastError  string    `json:"last_error"`     // Why the last connection failed or ended; "" while connected.
	Link       string    `json:"link"`           // What its tunnels stand on; "" before it runs.
	LinkReason string    `json:"link_reason"`    // Why, in one sentence.
	Driver     string    `json:"driver"`         // Version of the driver in use, or "".
	Adapter    string    `json:"adapter"`        // Name of the network adapter that tunnels use, or "".
	At         time.Time `json:"at"`             // When this was so.

	// How its last tunnel ended, if it ended by itself and what the engine has on record about that
	// is not known; or nil.
	Ended *wire.Stopped `json:"ended,omitempty"`
}

// Status returns what the agent is doing now.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.status
	s.At = time.Now()
	if c := a.current; c != nil && c.admitted {
		s.Tunnel, s.Up = c.id, c.up
	}
	if a.unsettled {
		s.Ended = new(a.last)
	}
	return s
}

// note changes the status.
func (a *Agent) note(change func(*Status)) {
	a.mu.Lock()
	change(&a.status)
	a.mu.Unlock()
	a.touch()
}

// touch says that the status has changed. It does not wait.
func (a *Agent) touch() {
	select {
	case a.changed <- struct{}{}:
	default: // It is known already that it has.
	}
}

// statusFile is where an agent writes its status down, below its data root.
func statusFile(data string) string { return filepath.Join(data, "Agent", "status.json") }

// keepStatus writes the status down, now and whenever it changes, until stop is called, and
// then once more. That it cannot be written is said once, and harms nothing else.
func (a *Agent) keepStatus() (stop func()) {
	done := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		path, failed := statusFile(a.data), false
		for more := true; more; {
			err := a.Status().write(path)
			if err != nil && !failed {
				a.log.Warn("status_not_written", "path", path, "err", err)
			}
			failed = err != nil
			select {
			case <-a.changed:
			case <-done:
				more = false
			}
		}
		_ = a.Status().write(path) // If it fails now, it failed before.
	})
	return func() { close(done); writing.Wait() }
}

// write writes a status down.
func (s Status) write(path string) error {
	b, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	return keys.WriteFile(path, append(b, '\n'))
}

// ReadStatus returns what the agent with a data root wrote down about itself last, and
// whether it runs: what one wrote that does not is of the past. The error is
// fs.ErrNotExist when none ever ran there.
func ReadStatus(data string) (s Status, running bool, err error) {
	b, err := keys.ReadFile(statusFile(data))
	if err != nil {
		return Status{}, false, fmt.Errorf("read status: %w", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return Status{}, false, fmt.Errorf("read status: %s is damaged: %w; the agent writes it anew when it runs", statusFile(data), err)
	}
	if running, err = keys.AgentInUse(keysDir(data)); err != nil {
		return s, false, fmt.Errorf("read status: %w", err)
	}
	return s, running, nil
}
