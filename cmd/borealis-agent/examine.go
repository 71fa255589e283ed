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
	"borealis/agent/checkup"
	"borealis/agent/driver"
	"borealis/agent/limits"
	"borealis/agent/shell"
	"borealis/agent/update"
)

// What is too little or too much.
const (
	fewBytes  = 256 << 20       // Of free disk: a log, an update and its predecessor need less.
	muchClock = 5 * time.Minute // Between two clocks.
)

const moreRights = "start this in an elevated prompt, or as root"

// notKnown is a check of what this process may not look at.
func notKnown(name string) checkup.Finding {
	return checkup.Finding{Name: name, OK: true, Detail: "not known without more rights", Hint: moreRights}
}

// examine looks at everything.
func examine(ctx context.Context, data string) findings {
	var f findings
	f.Checks = append(hostChecks(data), agentCheck(data))
	f.Checks = append(f.Checks, lookAtWay(ctx, data)...)
	f.Checks = append(f.Checks, f.linkCheck(data), terminalCheck(), diskCheck(data), policyCheck(data), panicCheck(data), updateCheck(data))
	f.OK = checkup.AllOK(f.Checks)
	return f
}

// agentCheck reads what the agent says about itself.
func agentCheck(data string) checkup.Finding {
	const name = "agent"
	s, running, err := agent.ReadStatus(data)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return notKnown(name)
	case errors.Is(err, fs.ErrNotExist), err == nil && !running:
		return checkup.Unwell(name, errors.New("no agent runs"), "start the service, or \"borealis-agent run\"")
	case err != nil:
		return checkup.Unwell(name, err, "")
	}
	return checkup.Well(name, "runs as process %d, version %s", s.PID, s.Version)
}

// linkCheck notes what the tunnels stand on.
func (f *findings) linkCheck(data string) checkup.Finding {
	const name = "link"
	f.Driver.Path = driver.Path(data, runtime.GOARCH)
	if d, err := driver.Find(data); err == nil {
		f.Driver.Present, f.Driver.Version = true, d.Version
	} else {
		f.Driver.Reason = err.Error()
	}
	s, running, err := agent.ReadStatus(data)
	if err != nil || !running {
		return checkup.Well(name, "chosen when the agent runs; driver: %s", either(f.Driver.Reason, "present, version "+f.Driver.Version))
	}
	f.Link, f.Adapter.Name = s.Link, s.Adapter
	return checkup.Well(name, "%s: %s", s.Link, s.LinkReason)
}

// terminalCheck asks whether this system has terminals.
func terminalCheck() checkup.Finding {
	const name = "terminal"
	if err := shell.TooOld(); err != nil {
		return checkup.Unwell(name, err, "update Windows to have terminals")
	}
	return checkup.Well(name, "this system has what terminals need")
}

// diskCheck looks for room.
func diskCheck(data string) checkup.Finding {
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
		return checkup.Unwell(name, fmt.Errorf("look how much room %s has: %w", at, err), "")
	case free < fewBytes:
		return checkup.Unwell(name, fmt.Errorf("%s has %d MB left", at, free>>20), fmt.Sprintf("free some space: updates need about %d MB", fewBytes>>20))
	}
	return checkup.Well(name, "%s has %d MB left", at, free>>20)
}

// policyCheck reads the local policy.
func policyCheck(data string) checkup.Finding {
	const name = "policy"
	p := limits.Load(agent.PolicyFile(data))
	err := p.Err()
	switch {
	case errors.Is(err, fs.ErrPermission):
		return notKnown(name)
	case err != nil:
		return checkup.Unwell(name, err, "mend the file, or delete it to allow everything; until then the device allows no tunnel")
	}
	return checkup.Well(name, "%s", either(strings.Join(p.Sentences(), " "), "nothing is forbidden"))
}

// panicCheck looks whether somebody has stopped all tunnels.
func panicCheck(data string) checkup.Finding {
	const name = "panic"
	at, stopped := limits.Load(agent.PolicyFile(data)).Stopped()
	switch {
	case !stopped:
		return checkup.Well(name, "nobody has stopped the tunnels")
	case at.IsZero():
		return notKnown(name)
	}
	return checkup.Unwell(name, fmt.Errorf("%w, on %s", limits.ErrStopped, when(at)), "to allow tunnels again: borealis-agent panic --release")
}

// updateCheck says how far the last update is.
func updateCheck(data string) checkup.Finding {
	const name = "update"
	exe, err := os.Executable()
	if err != nil {
		return checkup.Unwell(name, err, "")
	}
	s, err := update.Place{Exe: exe, Data: data}.Read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return checkup.Well(name, "none was made")
	case errors.Is(err, fs.ErrPermission):
		return notKnown(name)
	case err != nil:
		return checkup.Unwell(name, err, "")
	case s.Phase == update.RolledBack:
		return checkup.Unwell(name, fmt.Errorf("from %s to %s, and back: %s", s.From, s.To, s.Reason), "offer the device another version")
	}
	return checkup.Well(name, "from %s to %s, %s", s.From, s.To, s.Phase)
}
