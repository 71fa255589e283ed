package views

import (
	"cmp"
	"strings"
)

// An Ending is why a tunnel ended, in words.
type Ending struct {
	Reason string // one of the closed set of end reasons; "" = the tunnel lives, or there was none
	Text   string // follows "The tunnel ended: "
	Hint   string // what to do about it; "" = nothing
	Kind   string // its colour: idle when somebody meant it, warn, or err when it was a fault
}

// text is why the tunnel ended, also when that was not recorded.
func (e Ending) text() string { return cmp.Or(plain(e.Text), "no reason was recorded") }

// kind is the colour of the end. One that has no words is a fault.
func (e Ending) kind() string {
	switch e.Kind {
	case "idle", "warn":
		return e.Kind
	}
	return "err"
}

// stepName puts a step of a tunnel in words.
func stepName(name string) string {
	switch name {
	case "requested":
		return "Asked for"
	case "offered":
		return "Agent asked"
	case "ready":
		return "Agent ready"
	case "peered":
		return "Admitted"
	case "handshake":
		return "Handshake"
	case "up":
		return "Tunnel up"
	case "closing":
		return "Stopping"
	case "ended":
		return "Ended"
	}
	return strings.ReplaceAll(plain(name), "_", " ")
}
