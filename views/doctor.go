package views

import (
	"strconv"
	"time"
)

// Doctor is why a device cannot be reached, as far as that was looked for.
type Doctor struct {
	At     time.Time // when it was looked for; zero = it was not
	Took   time.Duration
	Checks []Check
}

// A Check is one thing that was looked at.
type Check struct {
	Name   string
	OK     bool   // nothing is to be mended
	Detail string // what was found
	Hint   string // what to do, or what may be done although it is OK; "" = nothing
	Millis float64
}

// kind is the check's colour, and word what it says to those who do not see it.
func (c Check) kind() (kind, word string) {
	switch {
	case !c.OK:
		return "err", "To mend"
	case c.Hint != "":
		return "info", "Note"
	}
	return "ok", "OK"
}

// hint is what to do about a check. What holds for several in a row is said after the last.
func (d Doctor) hint(i int) string {
	c := d.Checks[i]
	if c.OK && i+1 < len(d.Checks) && d.Checks[i+1].Hint == c.Hint {
		return ""
	}
	return plain(c.Hint)
}

// phase is how far the tunnel is that the panel is about: what was found in one does not hold in
// the next.
func (t Tunnel) phase() string {
	switch {
	case t.Up():
		return "up"
	case t.Live():
		return "coming"
	}
	return "down"
}

// took is how long the check took, when that matters.
func (c Check) took() string {
	if c.Millis <= 0 {
		return ""
	}
	return millisText(time.Duration(c.Millis * float64(time.Millisecond)))
}

// said is the result in one sentence, for those who hear it.
func (d Doctor) said() string {
	if d.At.IsZero() {
		return ""
	}
	first, unwell := "", 0
	for _, c := range d.Checks {
		if !c.OK {
			if unwell == 0 {
				first = plain(c.Name + ": " + c.Detail)
			}
			unwell++
		}
	}
	switch unwell {
	case 0:
		return "Nothing is in the way. " + strconv.Itoa(len(d.Checks)) + " things were looked at."
	case 1:
		return "One thing is in the way: " + first + "."
	}
	return strconv.Itoa(unwell) + " things are in the way. The first: " + first + "."
}

// recent is how long after a failed attempt its reason is looked for without being asked.
const recent = 2 * time.Minute

// failed says that the last attempt at a tunnel came to nothing, or that it was torn down by a fault.
func (v Device) failed() bool {
	return v.Tunnel.ID != "" && !v.Tunnel.Live() && !v.Tunnel.EndedAt.IsZero() && (v.Tunnel.UpAt.IsZero() || v.Tunnel.End.kind() == "err")
}

// askWhy says that the panel looks by itself, because an attempt has just failed.
func (v Device) askWhy() bool {
	return v.CanConnect && v.Doctor.At.IsZero() && v.failed() && v.Now.Sub(v.Tunnel.EndedAt) < recent
}
