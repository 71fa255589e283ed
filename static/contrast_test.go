package static

import (
	"math"
	"regexp"
	"strconv"
	"testing"
)

var colourToken = regexp.MustCompile(`--([a-z0-9-]+): light-dark\(#([0-9a-f]{6}), #([0-9a-f]{6})\);`)

// luminance is the relative luminance of a colour as WCAG 2 defines it.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	channel := func(shift uint) float64 {
		c := float64(n>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(16) + 0.7152*channel(8) + 0.0722*channel(0)
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	la, lb := luminance(t, a), luminance(t, b)
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

// tokens are the colours of app.css in one theme; 2 = light, 3 = dark.
func tokens(t *testing.T, theme int) map[string]string {
	t.Helper()
	css, err := embedded.ReadFile("app.css")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, m := range colourToken.FindAllStringSubmatch(string(css), -1) {
		found[m[1]] = m[theme]
	}
	return found
}

// Text stands out from what it lies on by 4.5 to 1, edges of controls and the
// focus ring by 3 to 1, in both themes.
func TestContrast(t *testing.T) {
	t.Parallel()
	const text, edge = 4.5, 3.0
	pairs := []struct {
		front, back string
		least       float64
	}{
		{"text", "bg", text},
		{"text", "surface", text},
		{"text", "sunken", text},
		{"text-2", "bg", text},
		{"text-2", "surface", text},
		{"text-2", "sunken", text},
		{"text-2", "ok-soft", text},
		{"text-2", "warn-soft", text},
		{"text-2", "err-soft", text},
		{"text-2", "info-soft", text},
		{"text-3", "bg", text},
		{"text-3", "surface", text},
		{"text-3", "sunken", text},
		{"accent-strong", "bg", text},
		{"accent-strong", "surface", text},
		{"accent-strong", "accent-soft", text},
		{"on-accent", "accent", text},
		{"on-accent", "accent-strong", text},
		{"ok", "ok-soft", text},
		{"ok", "surface", text},
		{"ok", "sunken", text},
		{"warn", "warn-soft", text},
		{"warn", "surface", text},
		{"warn", "bg", text},
		{"err", "err-soft", text},
		{"err", "surface", text},
		{"err", "bg", text},
		{"info", "info-soft", text},
		{"info", "surface", text},
		{"line-strong", "surface", edge},
		{"line-strong", "bg", edge},
		{"accent", "surface", edge},
		{"info", "sunken", edge},
		{"focus", "bg", edge},
		{"focus", "surface", edge},
		{"focus", "sunken", edge},
	}
	for theme, name := range map[int]string{2: "light", 3: "dark"} {
		colours := tokens(t, theme)
		for _, p := range pairs {
			front, back := colours[p.front], colours[p.back]
			if front == "" || back == "" {
				t.Errorf("%s: app.css has no token %s or %s", name, p.front, p.back)
				continue
			}
			if got := contrast(t, front, back); got < p.least {
				t.Errorf("%s: %s on %s is %.2f to 1, want at least %.1f", name, p.front, p.back, got, p.least)
			}
		}
	}
}

// The terminal is dark in both themes and has colours of its own.
func TestTerminalContrast(t *testing.T) {
	t.Parallel()
	script, err := embedded.ReadFile("terminal-screen.js")
	if err != nil {
		t.Fatal(err)
	}
	colours := map[string]string{}
	for _, m := range regexp.MustCompile(`(\w+): "#([0-9a-f]{6})"`).FindAllStringSubmatch(string(script), -1) {
		colours[m[1]] = m[2]
	}
	if len(colours) < 20 {
		t.Fatalf("found %d colours of the terminal", len(colours))
	}
	for name, colour := range colours {
		switch name {
		case "background", "black", "cursorAccent", "selectionBackground":
			continue // what is drawn on, or meant not to stand out
		}
		if got := contrast(t, colour, colours["background"]); got < 4.5 {
			t.Errorf("%s on the terminal's background is %.2f to 1, want at least 4.5", name, got)
		}
	}
}
