// Package limits is what the owner of a device allows at most, whatever its engine asks for.
//
// The owner writes a file, in JSON. It can only narrow what the engine asks for:
//
//	{
//	  "never_ports": ["3389/tcp", "5900-5910/tcp", "3478/udp"],
//	  "no_terminal": true,
//	  "hours": [{"days": ["mon", "tue"], "from": "07:00", "to": "19:00"}],
//	  "no_updates": true,
//	  "shell_as": "user"
//	}
//
// Each member may be absent. Hours are in the device's own time; a window without days is
// for all of them, and one whose end is before its beginning goes on into the next day.
// A file that cannot be read, or that says what nobody can mean, allows nothing until it
// is mended.
package limits

import (
	"slices"
	"time"

	"borealis/agent/wire"
	"borealis/tunnel/token"
)

// Policy is a device's local policy, as its file says at the moment: each method reads the
// file, so that a change is in force at once. The zero Policy has none, and allows
// everything. It is safe for concurrent use.
type Policy struct{ path string }

// Load returns the policy in a file. A file that is absent allows everything; one that is
// broken allows nothing, and [Policy.Err] says why.
func Load(path string) *Policy { return &Policy{path: path} }

// Err returns why the policy cannot be used, in words for the device's owner, or nil.
func (p *Policy) Err() error {
	_, err := read(p.path)
	return err
}

// Narrow returns those of ports that the policy allows too. The shell's port is not among
// them when it allows no terminal.
func (p *Policy) Narrow(ports []token.Port) []token.Port {
	r, err := read(p.path)
	if err != nil {
		return nil
	}
	never := r.never
	if r.NoTerminal {
		never = append(slices.Clip(never), token.Port{Protocol: "tcp", From: wire.ShellPort, To: wire.ShellPort})
	}
	return subtract(ports, never)
}

// Open reports whether tunnels are allowed at a time, and if so, until when; zero is for good.
func (p *Policy) Open(at time.Time) (until time.Time, ok bool) {
	r, err := read(p.path)
	if err != nil {
		return time.Time{}, false
	}
	return r.week.open(at)
}

// Updates reports whether the engine may offer updates.
func (p *Policy) Updates() bool {
	r, err := read(p.path)
	return err == nil && !r.NoUpdates
}

// AsUser reports whether shells run as the user who is signed in, and not as the system.
func (p *Policy) AsUser() bool {
	r, err := read(p.path)
	return err != nil || r.ShellAs == asUser
}

// Sentences says for people what the device does not allow, one sentence each; none when it allows
// everything.
func (p *Policy) Sentences() []string {
	var all []string
	if _, stopped := p.Stopped(); stopped {
		all = append(all, "Somebody at the device stopped all tunnels (panic stop).")
	}
	return append(all, p.forbids()...)
}

// forbids says what the policy forbids.
func (p *Policy) forbids() []string {
	r, err := read(p.path)
	if err != nil {
		return []string{cut("No tunnel is allowed until the device's policy file is mended: " + err.Error() + ".")}
	}
	return r.sentences()
}
