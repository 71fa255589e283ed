package checkup

import (
	"bytes"
	"regexp"
	"slices"
)

// removed stands where a secret was.
const removed = "[removed]"

// assigned stands between a name and its value, which may be quoted, also within quotes.
const assigned = `\\*["']?\s*[=:]\s*(?:\\+"([^"\\\r\n]*)|"((?:[^"\\\r\n]|\\.)*)|\\*'([^'\r\n]*)|`

// secretForms are the forms that secrets of engine and agent have as text. Where there is a
// group, only that is removed.
var secretForms = []*regexp.Regexp{
	// A PEM block, also one without its end, or with its lines escaped. What follows one without
	// an end belongs to it as far as it may be base64, but no line of words does.
	regexp.MustCompile(`(?m)-----BEGIN [A-Za-z0-9 ]+-----(?:(?:-{0,4}[^-])*?-----END [A-Za-z0-9 ]+-----|` +
		`(?:\s|\\+[nrt])*[A-Za-z0-9+/=]*(?:(?:\\+[nrt])+[A-Za-z0-9+/=]+|\s+(?:[A-Za-z0-9+/]{16,}=*|[A-Za-z0-9+/]*=+|[A-Za-z0-9+/]+\r?$))*)`),
	// PASETO tokens, enrolment codes, API tokens, recipients' keys of backups.
	regexp.MustCompile(`v[1-4]\.(?:public|local)\.[A-Za-z0-9_.=-]+`),
	regexp.MustCompile(`(?i)brl1\.[^\s"'<>\\]+`),
	regexp.MustCompile(`brlt_[A-Za-z0-9]+`),
	regexp.MustCompile(`(?i)AGE-(?:SECRET-KEY|PLUGIN)-[A-Za-z0-9-]+`),
	// What stands behind a name that says so: password=…, "psk":"…", Authorization: Bearer ….
	regexp.MustCompile(`(?i)(?:authorization|cookie)\\*["']?\s*[=:]\s*\\*["']?([^"\\\r\n]+)`),
	regexp.MustCompile(`(?i)\b(?:bearer\s+([^\s"'\\]+)|basic\s+([A-Za-z0-9+/_.~=-]{8,}))`),
	regexp.MustCompile(`(?i)(?:pass(?:word|wd|phrase)|secret|psk|(?:private|preshared|pre_shared|session|api|seal)[_ -]?key)` + assigned + `([^\s"',;}]+))`),
	// Where the word behind is of small letters only, it is rather why a token was refused.
	regexp.MustCompile(`(?i)(?:token|ticket)` + assigned + `((?-i:[a-z]*[^a-z:\s"',;}])[^\s"',;}]*))`),
	regexp.MustCompile(`(?i)(?:token|ticket)\\*["']?\s*=\s*([^\s"',;}]+)`),
	regexp.MustCompile(`://([^\s/@"']+:[^\s/@"']+)@`),
	// Passwords that the engine made, and what rand.Text made.
	regexp.MustCompile(`\b[a-z2-7]{4}(?:-[a-z2-7]{4}){3,4}\b`),
	regexp.MustCompile(`[A-Z2-7]{26,}`),
}

// keyRuns are runs of letters that may be a key in hexadecimal, base64 or base64url, each with
// what says that one is, unless it is public.
var keyRuns = []struct {
	run *regexp.Regexp
	is  func([]byte) bool
}{
	{regexp.MustCompile(`[0-9A-Fa-f]{64,}`), func([]byte) bool { return true }},
	{regexp.MustCompile(`[A-Za-z0-9+/]{43,}={0,2}`), random},
	{regexp.MustCompile(`[A-Za-z0-9_-]{43,}={0,2}`), random},
	// What is only a part of a key, too; a revision of Git, which stays, has no capitals.
	{regexp.MustCompile(`[A-Za-z0-9+/_-]{40,}={0,2}`), func(b []byte) bool { return bytes.ContainsAny(b, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") }},
}

// What is public and looks like a key. The sum of a file and a key of 32 bytes are the same to the
// eye, so only what is called a SHA-256 where it stands is taken for one.
var (
	publicPin  = regexp.MustCompile(`^[a-z2-7]{52}$`)
	publicSum  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	sumName    = regexp.MustCompile(`(?i)sha-?256[^0-9A-Za-z\r\n]{1,6}(?:is |[0-9a-f]{64}, want )?$`)
	publicPath = regexp.MustCompile(`^(?:/(?:(?:[A-Z]?[a-z]{2,}|[A-Z]{2,}|[0-9]+)[_-]*){0,4})+$`) // folders are named with a few words
)

const (
	keyLetters = 43 // of 32 bytes in base64
	keyChanges = 9  // how often the kind of letter changes in those at least; in words it does not
	nameLength = 96 // bytes before a sum in which its name is looked for
)

// Scrub returns text without what may be a secret: PEM blocks, tokens, enrolment codes, what is
// called a password or a key, and all that looks like 32 random bytes. Rather too much is removed
// than too little, but what helps stays: the ends of lines, paths, the pins of keys, which are public,
// and sums of files where they are called SHA-256. It is the second line of defence of a support
// bundle; the first is not to put secrets into it.
func Scrub(text []byte) []byte {
	for _, form := range secretForms {
		text = cut(text, form.FindAllSubmatchIndex(text, -1))
	}
	for _, k := range keyRuns {
		found := slices.DeleteFunc(k.run.FindAllSubmatchIndex(text, -1), func(at []int) bool {
			b := text[at[0]:at[1]]
			return !k.is(b) || public(b, text[max(0, at[0]-nameLength):at[0]])
		})
		text = cut(text, found)
	}
	return text
}

// public reports whether what looks like a key is none, to judge by itself and what stands before it.
func public(b, before []byte) bool {
	return publicPin.Match(b) || publicPath.Match(b) || publicSum.Match(b) && sumName.Match(before)
}

// cut replaces what was found, or the groups in it where there are any.
func cut(text []byte, found [][]int) []byte {
	if len(found) == 0 {
		return text
	}
	var out bytes.Buffer
	at := 0
	for _, match := range found {
		if len(match) > 2 {
			match = match[2:]
		}
		for ; len(match) > 0; match = match[2:] {
			if match[0] < 0 || match[0] == match[1] {
				continue
			}
			out.Write(text[at:match[0]])
			out.WriteString(removed)
			at = match[1]
		}
	}
	out.Write(text[at:])
	return out.Bytes()
}

// random reports whether somewhere in b there is as much change between kinds of letters as
// there is in a key.
func random(b []byte) bool {
	changes := 0
	for i := 1; i < len(b); i++ {
		if kind(b[i]) != kind(b[i-1]) {
			changes++
		}
		if first := i - keyLetters + 1; first > 0 && kind(b[first]) != kind(b[first-1]) {
			changes--
		}
		if changes >= keyChanges {
			return true
		}
	}
	return false
}

// kind tells kinds of letters apart.
func kind(c byte) int {
	switch {
	case 'a' <= c && c <= 'z':
		return 0
	case 'A' <= c && c <= 'Z':
		return 1
	case '0' <= c && c <= '9':
		return 2
	}
	return 3
}
