package agent

import (
	"borealis/agent/wire"
)

// offered takes an update that an administrator asked for, or says why not. It does not wait.
func (a *Agent) offered(_ *connection, _ wire.Update) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tellLocked(wire.FromAgent{Updated: &wire.Updated{Outcome: wire.UpdateRefused, Detail: "This agent does not update itself."}})
}
