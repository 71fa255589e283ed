package views

import (
	"cmp"
	"strconv"
	"time"
)

// A lockFor is what a form that locks needs to know.
type lockFor struct {
	id, path, target string
	site             string // name of the site; "" when the path says what is locked
	title, question  string
}

// words say why something is locked, by whom and until when.
func (l Lock) words(now time.Time) string {
	text := cmp.Or(plain(l.Reason), "no reason given") + " – " + plain(cmp.Or(l.By, "the engine")) + ", " + agoText(now, l.At)
	if !l.Until.IsZero() {
		text += ", until " + absoluteText(l.Until)
	}
	return text
}

// title says what a lock closes.
func (l Lock) title() string {
	switch l.Kind {
	case "site":
		return "The site " + plain(l.Name) + " is locked."
	case "operator":
		return plain(l.Name) + " is locked."
	}
	return "This device is locked."
}

// connected says how many people a lock would put out, as the beginning of a question.
func connected(operators int) string {
	switch operators {
	case 0:
		return ""
	case 1:
		return "1 operator is connected. "
	}
	return strconv.Itoa(operators) + " operators are connected. "
}

func (s SiteRow) lockQuestion() string {
	return connected(s.Operators) + "Every tunnel and shell of its " + count(s.Devices, "device") + " ends at once, and nobody can connect until it is unlocked."
}

// about counts what a site has.
func (s SiteRow) about() string {
	text := count(s.Devices, "device")
	if s.Operators > 0 {
		text += ", " + count(s.Operators, "operator") + " connected"
	}
	return text
}

func siteID(what string, i int) string { return "site-" + what + "-" + strconv.Itoa(i) }

func (v Device) lockQuestion() string {
	return connected(len(v.Tunnel.Operators)) + "Its tunnel and every shell end at once, and nobody can connect until it is unlocked."
}
