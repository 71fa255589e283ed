package views

import "strings"

// commands are what enrols a Linux machine and keeps it in touch. The code is
// quoted because an IPv6 address in it holds brackets.
func (v Enrolment) commands() string {
	const data = "/var/lib/borealis-agent"
	return "borealis-agent enrol --data " + data + " --code " + shellQuote(v.New) + "\n" +
		"borealis-agent run --data " + data
}

// shellQuote makes one word of a POSIX shell out of a text.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

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
