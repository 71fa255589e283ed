package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"borealis/agent"
	"borealis/agent/wire"
)

// device is an agent under test.
type device struct {
	*agent.Agent
	data string
	log  *journal
	stop func() error // Ends Run and returns what it returned.
}

// newDevice enrols an agent with e and runs it until the test ends.
func newDevice(t *testing.T, e *engine) *device {
	t.Helper()
	d := &device{data: t.TempDir(), log: newJournal()}
	code := wire.Code{Address: e.address, Pin: e.keys.Identity.Pin(), Secret: wire.NewSecret()}
	if _, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: d.data, Code: code.String(), Logger: slog.New(d.log)}); err != nil {
		t.Fatal(err)
	}
	d.run(t)
	return d
}

// run opens the agent in the device's data and runs it.
func (d *device) run(t *testing.T) {
	t.Helper()
	a, err := agent.Open(agent.Config{Data: d.data, Version: "test", Shell: "/bin/sh", Logger: slog.New(d.log)})
	if err != nil {
		t.Fatal(err)
	}
	d.Agent = a
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	d.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			stacks := make([]byte, 1<<20)
			return fmt.Errorf("Run does not return:\n%s", stacks[:runtime.Stack(stacks, true)])
		}
	})
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
}

// journal is a log that can be waited for.
type journal struct {
	slog.Handler
	state *journalState
}

type journalState struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newJournal() *journal {
	s := &journalState{changed: make(chan struct{})}
	return &journal{slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelInfo}), s}
}

// Write takes one line.
func (s *journalState) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	close(s.changed)
	s.changed = make(chan struct{})
	return len(p), nil
}

// expect waits for a line that holds all the words, and returns it.
func (j *journal) expect(t *testing.T, words ...string) string {
	t.Helper()
	timeout := time.After(patience)
	for {
		j.state.mu.Lock()
		text, changed := j.state.text.String(), j.state.changed
		j.state.mu.Unlock()
		for line := range strings.Lines(text) {
			if holds(line, words) {
				return line
			}
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("the log has no line with %q:\n%s", words, text)
		}
	}
}

// String returns the whole log.
func (j *journal) String() string {
	j.state.mu.Lock()
	defer j.state.mu.Unlock()
	return j.state.text.String()
}

func holds(line string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(line, w) {
			return false
		}
	}
	return true
}
