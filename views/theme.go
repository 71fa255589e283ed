package views

// ThemeCookie is the cookie in which the browser keeps the chosen theme, so
// that the first paint is right.
const ThemeCookie = "brl-theme"

// ParseTheme makes a value of the theme cookie safe to use: light, dark, or ""
// for whatever the browser prefers.
func ParseTheme(cookie string) string {
	if cookie == "light" || cookie == "dark" {
		return cookie
	}
	return ""
}
