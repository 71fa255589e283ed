package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"borealis/agent"
	"borealis/agent/driver"
	"borealis/agent/limits"
	"borealis/agent/shell"
	"borealis/agent/update"
	"borealis/tunnel/keys"
)

// What is too little or too much.
const (
	fewBytes  = 256 << 20       // Of free disk: a log, an update and its predecessor need less.
	muchClock = 5 * time.Minute // Between two clocks.
)

const moreRights = "start this in an elevated prompt, or as root"

// notKnown is a check of what this process may not look at.
func notKnown(name string) check {
	return check{Name: name, OK: true, Detail: "not known without more rights", Hint: moreRights}
}

// examine looks at everything.
func examine(ctx context.Context, data string) findings {
	var f findings
	f.Checks = append(hostChecks(data), identityCheck(data))
	f.Checks = append(f.Checks, engineChecks(ctx, data)...)
	f.Checks = append(f.Checks, agentCheck(data), f.linkCheck(data), terminalCheck(), diskCheck(data), policyCheck(data), updateCheck(data))
	f.OK = true
	for _, c := range f.Checks {
		f.OK = f.OK && c.OK
	}
	return f
}

// identityCheck opens the keys.
func identityCheck(data string) check {
	const name = "identity"
	who, err := agent.ReadFingerprint(data)
	switch {
	case err == nil:
		return well(name, "%s, of the engine at %s", who.Device.Words(), who.Address)
	case errors.Is(err, keys.ErrNotEnrolled):
		return unwell(name, keys.ErrNotEnrolled, "enrol the device with a code from the engine's console")
	case errors.Is(err, fs.ErrPermission):
		return notKnown(name)
	}
	return unwell(name, err, "")
}

// engineChecks asks the engine for a sign of life.
func engineChecks(ctx context.Context, data string) []check {
	const name = "engine"
	r, err := agent.Reach(ctx, data)
	switch {
	case errors.Is(err, keys.ErrNotEnrolled):
		return nil // The identity's check says so.
	case errors.Is(err, fs.ErrPermission):
		return []check{notKnown(name)}
	case err != nil:
		return []check{unwell(name, err, "")}
	}
	clock := well("clock", "as the engine's")
	if r.Ahead.Abs() >= muchClock {
		clock = well("clock", "%v ahead of the engine's", r.Ahead)
		clock.Hint = "Borealis works with that, but set the clock: logs are hard to compare"
	}
	return []check{well(name, "%s answers in %v and is %s", r.Address, r.Took.Round(time.Millisecond), r.Engine.Words()), clock}
}

// agentCheck reads what the agent says about itself.
func agentCheck(data string) check {
	const name = "agent"
	s, running, err := agent.ReadStatus(data)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return notKnown(name)
	case errors.Is(err, fs.ErrNotExist), err == nil && !running:
		return unwell(name, errors.New("no agent runs"), "start the service, or \"borealis-agent run\"")
	case err != nil:
		return unwell(name, err, "")
	case !s.Connected:
		return unwell(name, fmt.Errorf("not connected to %s: %s", s.Engine, either(s.LastError, "it has only begun")), "see what the check of the engine says")
	}
	return well(name, "version %s, connected to %s since %s, %s", s.Version, s.Engine, when(s.Since), s.State)
}

// linkCheck notes what the tunnels stand on.
func (f *findings) linkCheck(data string) check {
	const name = "link"
	f.Driver.Path = driver.Path(data, runtime.GOARCH)
	if d, err := driver.Find(data); err == nil {
		f.Driver.Present, f.Driver.Version = true, d.Version
	} else {
		f.Driver.Reason = err.Error()
	}
	s, running, err := agent.ReadStatus(data)
	if err != nil || !running {
		return well(name, "chosen when the agent runs; driver: %s", either(f.Driver.Reason, "present, version "+f.Driver.Version))
	}
	f.Link, f.Adapter.Name = s.Link, s.Adapter
	return well(name, "%s: %s", s.Link, s.LinkReason)
}

// terminalCheck asks whether this system has terminals.
func terminalCheck() check {
	const name = "terminal"
	if err := shell.TooOld(); err != nil {
		return unwell(name, err, "update Windows to have terminals")
	}
	return well(name, "this system has what terminals need")
}

// diskCheck looks for room.
func diskCheck(data string) check {
	const name = "disk"
	at := data
	for parent := filepath.Dir(at); parent != at; at, parent = parent, filepath.Dir(parent) {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	free, err := freeBytes(at)
	switch {
	case err != nil:
		return unwell(name, fmt.Errorf("look how much room %s has: %w", at, err), "")
	case free < fewBytes:
		return unwell(name, fmt.Errorf("%s has %d MB left", at, free>>20), fmt.Sprintf("free some space: updates need about %d MB", fewBytes>>20))
	}
	return well(name, "%s has %d MB left", at, free>>20)
}

// policyCheck reads the local policy.
func policyCheck(data string) check {
	const name = "policy"
	p := limits.Load(agent.PolicyFile(data))
	err := p.Err()
	switch {
	case errors.Is(err, fs.ErrPermission):
		return notKnown(name)
	case err != nil:
		return unwell(name, err, "mend the file, or delete it to allow everything; until then the device allows no tunnel")
	}
	return well(name, "%s", either(strings.Join(p.Sentences(), " "), "nothing is forbidden"))
}

// updateCheck says how far the last update is.
func updateCheck(data string) check {
	const name = "update"
	exe, err := os.Executable()
	if err != nil {
		return unwell(name, err, "")
	}
	s, err := update.Place{Exe: exe, Data: data}.Read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return well(name, "none was made")
	case errors.Is(err, fs.ErrPermission):
		return notKnown(name)
	case err != nil:
		return unwell(name, err, "")
	case s.Phase == update.RolledBack:
		return unwell(name, fmt.Errorf("from %s to %s, and back: %s", s.From, s.To, s.Reason), "offer the device another version")
	}
	return well(name, "from %s to %s, %s", s.From, s.To, s.Phase)
}
