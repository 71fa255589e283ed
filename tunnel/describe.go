package tunnel

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"borealis/acl"
)

const maxDetail = 1000 // bytes that a line of activity may take

// describe says for people how wanted differs from old: nothing when it does not.
func describe(old, wanted acl.Policy, now time.Time) string {
	if len(wanted.Overrides) == 0 && len(old.Overrides) > 0 {
		return "reset to the defaults"
	}
	var changes []string
	for _, o := range wanted.Overrides {
		if !slices.ContainsFunc(old.Overrides, o.Same) {
			changes = append(changes, decision(o, now))
		}
	}
	for _, o := range old.Overrides {
		switch {
		case slices.ContainsFunc(wanted.Overrides, o.About):
		case o.Service != "":
			changes = append(changes, nameOf(o)+" as by default")
		default:
			changes = append(changes, nameOf(o)+" removed")
		}
	}
	return bounded(strings.Join(changes, "; "))
}

// decision says what an override is: 8443/tcp (Grafana) allowed until 14:30 UTC: patch day.
func decision(o acl.Override, now time.Time) string {
	text := nameOf(o) + " closed"
	if o.Allowed {
		text = nameOf(o) + " allowed"
	}
	if !o.Until.IsZero() {
		layout := "15:04 UTC"
		if o.Until.Sub(now) > 12*time.Hour {
			layout = "2006-01-02 15:04 UTC"
		}
		text += " until " + o.Until.UTC().Format(layout)
	}
	if o.Reason != "" {
		text += ": " + o.Reason
	}
	return text
}

// nameOf is the service or the port that an override is about.
func nameOf(o acl.Override) string {
	if o.Service != "" {
		for _, s := range acl.Services() {
			if s.ID == o.Service {
				return s.Name
			}
		}
		return o.Service
	}
	if o.Label != "" {
		return o.Port.String() + " (" + o.Label + ")"
	}
	return o.Port.String()
}

// bounded is text that fits into a line of activity.
func bounded(text string) string {
	if len(text) <= maxDetail {
		return text
	}
	const more = " …"
	cut := maxDetail - len(more)
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + more
}
