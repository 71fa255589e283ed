package views

import (
	"cmp"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"
)

// promise says what the code that was just made is good for.
func (v Enrolment) promise() string {
	life := v.TTL
	switch life {
	case "", "1h":
		life = "1 hour"
	case "24h":
		life = "1 day"
	case "168h":
		life = "7 days"
	}
	return "Good for " + count(max(v.Uses, 1), "machine") + " within " + plain(life) + "."
}

// codePath is where the form goes that removes a code.
func codePath(id string) string { return "/enrolment/codes/" + url.PathEscape(id) + "/remove" }

func codeURL(id string) templ.SafeURL { return templ.SafeURL(codePath(id)) }

func (c Code) removeQuestion(now time.Time) string {
	if c.Used >= c.Uses || !c.ExpiresAt.After(now) {
		return "It is of no use any more. The devices that it brought in stay."
	}
	return "Nobody can enrol with it any more. The devices that it brought in stay."
}

// summary counts who waits.
func (v Queue) summary() string {
	text := count(v.Total, "device")
	if v.Total > len(v.Waiting) {
		text = "the first " + strconv.Itoa(len(v.Waiting)) + " of " + text
	}
	return text + "; " + strconv.Itoa(v.Most) + " can wait at a time"
}

// about says in one line what a device that waits says about itself, and its site.
func (w Waiting) about() string {
	facts := []string{cmp.Or(system(w.OS, w.OSVersion), "unknown system")}
	if w.Arch != "" {
		facts = append(facts, plain(w.Arch))
	}
	if w.Site == "" {
		facts = append(facts, "no site")
	} else {
		facts = append(facts, "site "+plain(w.Site))
	}
	return strings.Join(facts, ", ")
}

// seen says how a known device was last known.
func (k Known) seen() string {
	state := ""
	if k.State != "" && k.State != "active" {
		state = plain(k.State) + ", "
	}
	if k.LastSeen.IsZero() {
		return " (" + state + "never seen)"
	}
	return " (" + state + "last seen " + absoluteText(k.LastSeen) + ")"
}

func (k Known) replaceQuestion() string {
	return plain(cmp.Or(k.Hostname, k.ID)) + " is revoked for good: its tunnel stops at once and its agent is turned away. Its activity stays."
}

// partID keeps the buttons of several devices on one page apart; on a device's own
// page there is one of each.
func partID(part, testid, id string) string {
	if part == "pending" {
		return testid + "-" + id
	}
	return testid
}

// summary counts the refused codes of a day.
func (v WrongCodes) summary() string {
	if v.Count == 0 {
		return "none in the last 24 hours"
	}
	text := strconv.Itoa(v.Count) + " in the last 24 hours"
	if v.Sources > 0 {
		text += ", from " + count(v.Sources, "source")
	}
	return text
}

// warning says what so many refused codes mean; zero when they mean nothing.
func (v WrongCodes) warning() Note {
	switch {
	case v.Resting:
		return Note{Kind: "err", Text: "Enrolment rests: too many wrong codes were tried.", Hint: "Good codes are refused as well until fewer come. Find out who sends them; the audit trail has their addresses."}
	case v.Many:
		return Note{Kind: "warn", Text: "Many wrong codes were tried.", Hint: "Somebody may be guessing, or rolling out with an old code. Codes cannot be guessed in any useful time; look at the addresses."}
	}
	return Note{}
}

// text completes the sentence that begins with where a refused code came from.
func (r Refusal) text() string {
	switch r.Reason {
	case "code_unknown":
		return "sent a code that this engine does not know"
	case "code_used":
		return "sent a code that is used up"
	case "code_expired":
		return "sent a code that has expired"
	}
	return "was refused: " + strings.ReplaceAll(plain(r.Reason), "_", " ")
}
