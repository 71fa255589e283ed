package views

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"
)

// portsPath is where a form of the ports is sent.
func (v Ports) path(act string) string { return devicePath(v.DeviceID, "ports", act) }

func (v Ports) revision() string { return strconv.FormatInt(v.Revision, 10) }

// alarming reports whether the last proof found something that is not as shown.
func (v Ports) alarming() bool { return len(v.Proof.Alarms) > 0 }

func (v Ports) up() bool { return v.Tunnel == "up" }

// allowed counts the ports that the last proof tried because they are allowed.
func (p Proof) allowed() int { return len(p.Open) }

func (p Proof) answering() int {
	n := 0
	for _, o := range p.Open {
		if o.Result == "answers" {
			n++
		}
	}
	return n
}

// A proofState is how far the check is that what is shown is so.
type proofState struct {
	kind string // ok, err, warn, idle or info, as for dots
	text string // without the time of the check, which follows it
	when bool   // the time of the check follows
}

// proofState puts the proof in one line.
func (v Ports) proofState() proofState {
	p := v.Proof
	switch {
	case v.Tunnel == "closing":
		return proofState{"idle", "Not checked: the tunnel is going down.", false}
	case (Tunnel{State: v.Tunnel}).Live() && !v.up():
		return proofState{"idle", "Not checked yet: the tunnel is coming up.", false}
	case !v.up():
		return proofState{"idle", "Not checked: no tunnel is up. Connect to check.", false}
	case v.Proving:
		return proofState{"info", "Checking through the tunnel…", false}
	case p.At.IsZero():
		return proofState{"idle", "Not checked yet.", false}
	case v.alarming():
		return proofState{"err", p.count() + "; not as shown; checked ", true}
	case p.Stale:
		return proofState{"idle", "Not checked since the last change.", false}
	}
	return proofState{"ok", p.count() + "; checked ", true}
}

// count is the proof in figures.
func (p Proof) count() string {
	if p.allowed() == 0 {
		return fmt.Sprintf("None allowed; %d others refused", p.Refused)
	}
	return fmt.Sprintf("%d allowed: %d answering; %d others refused", p.allowed(), p.answering(), p.Refused)
}

// keeper says what refuses on the engine.
func (p Proof) keeper() string {
	if p.By == "iptables" {
		return "the engine's packet filter (iptables)"
	}
	return "the engine's program"
}

// resultText puts what became of a probe in words, and picks their colour.
func resultText(result string) (text, kind string) {
	switch result {
	case "answers":
		return "answers", "ok"
	case "no_listener":
		return "nothing listens there", "dim"
	case "refused_by_device":
		return "refused by the device", "warn"
	case "silent":
		return "no answer", "dim"
	case "refused":
		return "refused", "dim"
	case "blocked":
		return "blocked by the engine", "err"
	case "reachable":
		return "reachable", "err"
	}
	return plain(strings.ReplaceAll(result, "_", " ")), "dim"
}

// A rowResult is what the last proof says of a row, in few words.
type rowResult struct{ text, kind string }

// results are one line when all ports of a row fared alike, else one for each.
func (r PortRow) results() []rowResult {
	var lines []rowResult
	same := true
	for i, p := range r.Probes {
		text, kind := resultText(p.Result)
		same = same && p.Result == r.Probes[0].Result
		if len(r.Probes) > 1 {
			text = r.protocolOf(i) + " " + text
		}
		lines = append(lines, rowResult{text, kind})
	}
	if len(lines) > 1 && same {
		text, kind := resultText(r.Probes[0].Result)
		return []rowResult{{text, kind}}
	}
	return lines
}

// protocolOf names a probe among those of its row: by protocol, or by number within
// a range.
func (r PortRow) protocolOf(i int) string {
	number, protocol, _ := strings.Cut(r.Probes[i].Port, "/")
	if r.Custom {
		return plain(number)
	}
	return plain(protocol)
}

// title names a row.
func (r PortRow) title() string { return plain(cmp.Or(r.Name, r.portsText())) }

func (r PortRow) portsText() string { return strings.Join(r.Ports, " ") }

// switchLabel is what the row's switch is called.
func (r PortRow) switchLabel() string {
	if r.Name == "" {
		return "Allow " + plain(r.portsText())
	}
	return "Allow " + plain(r.Name) + ", " + plain(r.portsText())
}

func (r PortRow) overridden() bool { return !r.At.IsZero() }

// form is what the row's own form shows: what was refused, or else how the row is.
func (r PortRow) form() PortForm {
	if r.Form.Error != "" {
		return r.Form
	}
	f := PortForm{Allowed: r.Allowed, Reason: plain(r.Reason)}
	if !r.Until.IsZero() {
		f.For, f.Until = "until", r.Until.UTC().Format("2006-01-02T15:04")
	}
	return f
}

// wrong is the id of the error of a field, when it is the one that is wrong.
func (f PortForm) wrong(field string) bool { return f.Error != "" && f.Field == field }

// invalid marks a control whose value is wrong.
func (f PortForm) invalid(field, errorID string) templ.Attributes {
	if !f.wrong(field) {
		return nil
	}
	return templ.Attributes{"aria-invalid": "true", "aria-describedby": errorID, "data-focus": true}
}

// defaultText says what holds without an override.
func (r PortRow) defaultText() string {
	if r.Default {
		return "Back to the default: allowed"
	}
	return "Back to the default: closed"
}

// untilText writes when something ends; the browser's script makes it the viewer's
// own time by the same rules.
func untilText(now, t time.Time) string {
	now, t = now.UTC(), t.UTC()
	switch {
	case dayOf(now) == dayOf(t):
		return t.Format("15:04") + " UTC"
	case t.Year() == now.Year():
		return t.Format("2 Jan 15:04") + " UTC"
	}
	return t.Format("2 Jan 2006 15:04") + " UTC"
}

// changedText is who changed the ports last.
func (c PortChange) who() string {
	if c.By == "" {
		return "the engine"
	}
	return plain(c.By)
}

// firewallText says what keeps the ports shut.
func (f Firewall) text(mode string) string {
	switch {
	case f.Kind == "iptables" && f.Error != "":
		return "iptables (nft): not in place"
	case f.Kind == "iptables":
		return "iptables (nft), and inside the program"
	case mode == "":
		return "–"
	}
	return "inside the program"
}

// sourceWord is what a decision without an end is called.
func sourceWord(r PortRow) string {
	if r.Custom {
		return "Custom"
	}
	return "Override"
}
