package views

import (
	"slices"
	"time"
)

// History is the last steps of a device, newest first: tunnels with all that happened in each, and
// what happened between them.
type History struct {
	Blocks []HistoryBlock
	Most   int // how many steps there are at most; 0 = all are here
}

// A HistoryBlock is one tunnel, or what happened between two of them.
type HistoryBlock struct {
	Tunnel   string // its id; "" = what happened outside of tunnels
	Operator string // who asked for it; "" = that is too long ago
	End      Ending
	Steps    []HistoryStep
}

// A HistoryStep is a step of a tunnel, or something else that is on record.
type HistoryStep struct {
	At     time.Time
	Step   string // "" = it is a record
	Detail string // of a step
	Took   time.Duration
	First  bool  // of its tunnel: it took no time
	Event  Event // of a record
}

// A historyLine is a step drawn to scale: from and width are in thousandths of the time that the
// tunnel took to come up; a width of 0 has no bar.
type historyLine struct {
	HistoryStep

	name, took  string
	from, width int
}

// lines are the steps of a tunnel, oldest first. Those that made it come up are drawn to scale;
// its life and its end lie minutes or hours later.
func (b HistoryBlock) lines() []historyLine {
	var start, up time.Time
	for _, s := range b.Steps {
		switch s.Step {
		case "":
		case "closing", "ended":
		default:
			if start.IsZero() {
				start = s.At
			}
			up = s.At
		}
	}
	total := max(up.Sub(start), time.Microsecond)
	all := make([]historyLine, 0, len(b.Steps))
	for _, s := range b.Steps {
		l := historyLine{HistoryStep: s, name: stepName(s.Step)}
		switch {
		case s.Step == "":
			all = append(all, l)
			continue
		case s.First:
			l.took = "0 ms"
		case s.Took < time.Minute:
			l.took = "+" + millisText(s.Took)
		default:
			l.took = "+" + spanText(s.Took)
		}
		if s.Step != "closing" && s.Step != "ended" {
			l.width = max(thousandths(s.Took, total), 4)
			l.from = min(thousandths(s.At.Add(-s.Took).Sub(start), total), 1000-l.width)
		}
		all = append(all, l)
	}
	return all
}

// title says what became of the tunnel, and picks its colour.
func (b HistoryBlock) title() (text, kind string) {
	up := false
	for _, s := range b.Steps {
		up = up || s.Step == "up"
	}
	switch {
	case b.End.Reason != "":
		text, kind = "Tunnel ended: "+b.End.text(), b.End.kind()
		if kind == "idle" && up {
			kind = "ok"
		}
		return text, kind
	case up:
		return "Tunnel is up", "ok"
	}
	return "Tunnel", "info"
}

// at is when the block's newest step was.
func (b HistoryBlock) at() time.Time { return b.Steps[len(b.Steps)-1].At }

// events are the records of a block without a tunnel, newest first.
func (b HistoryBlock) events() []Event {
	all := make([]Event, 0, len(b.Steps))
	for _, s := range slices.Backward(b.Steps) {
		all = append(all, s.Event)
	}
	return all
}
