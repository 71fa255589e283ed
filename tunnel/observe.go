package tunnel

import "time"

// An Observer is told what happens to tunnels, for figures. Its functions may be nil, are called from
// many goroutines, and must not wait.
type Observer struct {
	// Step: a tunnel has come to a state, so long after the one before.
	Step func(s State, took time.Duration)
	// Ended: nothing of a tunnel is left, so long after it was asked for.
	Ended func(r Reason, lived time.Duration)
	// Repaired: what somebody had changed underneath is as it should be again: "firewall",
	// "link", "peer" or "session".
	Repaired func(what string)
	// Echo: the device answered a key that an operator pressed, so long after it came in.
	Echo func(took time.Duration)
}

func (o *Observer) step(s State, took time.Duration) {
	if o.Step != nil {
		o.Step(s, took)
	}
}

func (o *Observer) ended(r Reason, lived time.Duration) {
	if o.Ended != nil {
		o.Ended(r, lived)
	}
}

func (o *Observer) repaired(what string) {
	if o.Repaired != nil {
		o.Repaired(what)
	}
}
