package views

import "time"

// noteIcon is the sign of a message's kind.
func noteIcon(kind string) string {
	switch kind {
	case "ok":
		return "circle-check"
	case "warn":
		return "triangle-alert"
	case "err":
		return "circle-alert"
	}
	return "info"
}

// noteRole makes screen readers speak of faults at once.
func noteRole(n Note) string {
	if n.Kind == "err" {
		return "alert"
	}
	return "note"
}

func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// dayText names a day: Today, Yesterday, Monday 2 November 2026. Days are UTC
// days, as all times of the engine are.
func dayText(now, t time.Time) string {
	switch dayOf(t) {
	case dayOf(now):
		return "Today"
	case dayOf(now.AddDate(0, 0, -1)):
		return "Yesterday"
	}
	return t.UTC().Format("Monday 2 January 2006")
}
