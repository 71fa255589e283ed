package netfilter

import "strings"

// split cuts a rule into words as iptables-restore does: quotes hold a word together.
func split(rule string) []string {
	var words []string
	var word strings.Builder
	inWord, quoted, escaped := false, false, false
	for _, r := range rule {
		switch {
		case escaped:
			escaped = false
			word.WriteRune(r)
		case r == '\\' && quoted:
			escaped = true
		case r == '"':
			quoted, inWord = !quoted, true
		case r == ' ' && !quoted:
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}

// byOption cuts words into options, each with its arguments; a negation is part of the name.
func byOption(words []string) [][]string {
	var options [][]string
	negated := false
	for _, w := range words {
		switch {
		case w == "!" && !negated:
			negated = true
			continue
		case strings.HasPrefix(w, "-") && negated:
			options = append(options, []string{"! " + w})
		case strings.HasPrefix(w, "-") || len(options) == 0:
			options = append(options, []string{w})
		default:
			if negated { // the old way to write it: -i ! lo
				last := options[len(options)-1]
				last[0] = "! " + last[0]
			}
			options[len(options)-1] = append(options[len(options)-1], w)
		}
		negated = false
	}
	return options
}
