package views

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// longestText bounds what is drawn of one text that came from elsewhere; the
// rest of a longer one is cut off.
const longestText = 300

// plain makes a text that came from an agent or a person fit for one line on a
// page: control characters and the marks that turn the writing direction, with
// which a name could pose as another, become visible as U+FFFD.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return utf8.RuneError
		}
		return r
	}, s)
	if utf8.RuneCountInString(s) <= longestText {
		return s
	}
	return string([]rune(s)[:longestText]) + "…"
}

// bytesText writes a count of bytes as people read it: 4.6 MiB.
func bytesText(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, units := float64(n), "KMGTPE"
	i := -1
	for v >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + units[i:i+1] + "iB"
}

// clockText writes a remaining time as 13:41, or 1:02:03 from an hour on.
func clockText(d time.Duration) string {
	s := max(int(d.Round(time.Second)/time.Second), 0)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// spanText writes a length of time in its largest unit: 15 min, 2 h, 3 days.
func spanText(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}

// agoText writes a time as seen from now: just now, 5 min ago, in 3 h. The
// browser's script keeps it current by the same rules.
func agoText(now, at time.Time) string {
	d := now.Sub(at)
	switch {
	case d > -5*time.Second && d < 5*time.Second:
		return "just now"
	case d < 0:
		return "in " + spanText(-d)
	}
	return spanText(d) + " ago"
}

// absoluteText writes a time in full.
func absoluteText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" }

// millisText writes the time between two steps: 0.4 ms, 31 ms, 2.1 s.
func millisText(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 1, 64) + " ms"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}

// count writes a number with its noun: 1 operator, 2 operators.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// osName writes an operating system's name as its makers do.
func osName(os string) string {
	switch os {
	case "windows":
		return "Windows"
	case "linux":
		return "Linux"
	case "darwin":
		return "macOS"
	case "freebsd":
		return "FreeBSD"
	}
	return plain(os)
}

// system names an operating system and its version, once.
func system(os, version string) string {
	name := osName(os)
	if version == "" {
		return name
	}
	version = plain(version)
	if strings.Contains(strings.ToLower(version), strings.ToLower(name)) {
		return version
	}
	return strings.TrimSpace(name + " " + version)
}

// shellName is what the terminal of a device is called.
func shellName(os string) string {
	if os == "windows" {
		return "PowerShell"
	}
	return "Shell"
}
