package limits

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSentence is the most bytes of a sentence: what an inventory may hold.
const maxSentence = 256

// sentences is [Policy.Sentences].
func (r rules) sentences() []string {
	var all []string
	if len(r.Hours) > 0 {
		windows := make([]string, len(r.Hours))
		for i, w := range r.Hours {
			windows[i] = w.String()
		}
		all = append(all, listed("Tunnels are allowed only at these hours, by the device's clock: ", windows))
	}
	if len(r.NeverPorts) > 0 {
		all = append(all, listed("These ports are never allowed: ", r.NeverPorts))
	}
	if r.NoTerminal {
		all = append(all, "No terminal is allowed.")
	}
	if r.ShellAs == asUser {
		all = append(all, "Terminals run as the signed-in user, and only when there is one.")
	}
	if r.NoUpdates {
		all = append(all, "The engine may not update the agent.")
	}
	return all
}

// String is a window for people: "mon, tue 07:00–19:00".
func (w window) String() string {
	which := "every day"
	if len(w.Days) > 0 {
		which = strings.Join(w.Days, ", ")
	}
	return fmt.Sprintf("%s %s–%s", which, w.From, w.To)
}

// listed ends a sentence with as many items as have room in it.
func listed(begin string, items []string) string {
	for n := len(items); n > 0; n-- {
		s := begin + strings.Join(items[:n], "; ")
		if more := len(items) - n; more > 0 {
			s += fmt.Sprintf("; and %d more", more)
		}
		if len(s) < maxSentence {
			return s + "."
		}
	}
	return cut(begin + items[0] + ".")
}

// cut cuts a sentence to its limit, and drops from it what cannot be shown.
func cut(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) <= maxSentence {
		return s
	}
	limit := maxSentence - len("…")
	for !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}
