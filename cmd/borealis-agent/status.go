package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"borealis/agent"
	"borealis/agent/limits"
)

// standing is what status prints with --json.
type standing struct {
	Running bool `json:"running"` // An agent runs now; else what follows is what the last one left.
	agent.Status

	Panic  bool     `json:"panic"`  // Somebody at the device has stopped all tunnels.
	Policy []string `json:"policy"` // What the device's local policy forbids, one sentence each.
}

// status shows what the agent on this device is doing.
func status(_ context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("status", stderr)
	data := f.String("data", installedData(), "`DIR` of the agent's data root")
	asJSON := f.Bool("json", false, "print one JSON object")
	if err := parse(f, args); err != nil {
		return err
	}
	if _, err := agent.ReadFingerprint(*data); err != nil {
		return err
	}
	local := limits.Load(agent.PolicyFile(*data))
	_, stopped := local.Stopped()
	now := standing{Panic: stopped, Policy: append([]string{}, local.Sentences()...)}
	var err error
	if now.Status, now.Running, err = agent.ReadStatus(*data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if *asJSON {
		return json.NewEncoder(stdout).Encode(now)
	}
	_, err = io.WriteString(stdout, now.text())
	return err
}

// text is a standing for people.
func (s standing) text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-8s"+format+"\n", append([]any{name}, args...)...)
	}
	switch {
	case s.At.IsZero():
		line("agent", "has not run yet")
	case !s.Running:
		line("agent", "does not run; it did until %s", when(s.At))
	default:
		line("agent", "runs as process %d, version %s", s.PID, s.Version)
	}
	if s.Running {
		switch {
		case s.Connected:
			line("engine", "%s, connected since %s", s.Engine, when(s.Since))
		case s.Since.IsZero():
			line("engine", "%s, not connected yet", s.Engine)
		default:
			line("engine", "%s, not connected since %s", s.Engine, when(s.Since))
		}
		line("device", "%s", either(s.State, "unknown until the first connection"))
		line("tunnel", "%s", either(s.Tunnel, "none"))
		line("link", "%s: %s", s.Link, s.LinkReason)
	}
	if s.Driver != "" {
		line("driver", "%s", s.Driver)
	}
	if s.LastError != "" {
		line("error", "%s", s.LastError)
	}
	for _, sentence := range s.Policy {
		line("policy", "%s", sentence)
	}
	return b.String()
}

// either is a text, or another one when it is empty.
func either(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// when is a time for people, by the clock of this device.
func when(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }
