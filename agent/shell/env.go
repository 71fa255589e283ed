package shell

import "strings"

const (
	maxVariables = 32   // environment variables that one session may set
	maxVariable  = 4096 // bytes of one
)

// term is the terminal that shells see when the client names none.
const term = "xterm-256color"

// mayset reports whether a client may set the variable name to value: BOREALIS_*, TERM and LANG,
// since anything else could change what programs run (PATH, LD_PRELOAD, PSModulePath).
func mayset(name, value string) bool {
	if len(name)+len(value) > maxVariable || strings.ContainsRune(value, 0) {
		return false
	}
	if name == "TERM" || name == "LANG" {
		return isWord(value)
	}
	rest, ok := strings.CutPrefix(name, "BOREALIS_")
	return ok && isWord(rest)
}

// isWord reports whether s is plain enough to name a terminal, a locale or a variable.
func isWord(s string) bool {
	ok := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune("_-.+@", r)
	}
	return s != "" && len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool { return !ok(r) }) < 0
}
