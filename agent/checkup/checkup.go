// Package checkup says what was examined, what was found, and what to do about it.
//
// It is what every doctor and the self-test of Borealis have in common, so that their
// findings look the same to people, and to scripts as JSON.
package checkup

import (
	"fmt"
	"io"
	"time"
)

// A Finding is one thing that was looked at. In JSON it is a contract with scripts.
type Finding struct {
	Name   string  `json:"name"`
	OK     bool    `json:"ok"`           // Nothing is to be mended. What cannot be known without more rights is, too.
	Detail string  `json:"detail"`       // What was found, a sentence or less.
	Hint   string  `json:"hint"`         // What to do, or "".
	Took   float64 `json:"ms,omitempty"` // Milliseconds that it took to find out, where that matters.
}

// Well is a finding of what should be.
func Well(name, format string, args ...any) Finding {
	return Finding{Name: name, OK: true, Detail: fmt.Sprintf(format, args...)}
}

// Unwell is a finding of what is to be mended, and how.
func Unwell(name string, err error, hint string) Finding {
	return Finding{Name: name, Detail: err.Error(), Hint: hint}
}

// Since returns the finding with the time that has passed since began.
func (f Finding) Since(began time.Time) Finding {
	f.Took = float64(time.Since(began).Microseconds()) / 1000
	return f
}

// AllOK reports whether nothing is to be mended.
func AllOK(all []Finding) bool {
	for _, f := range all {
		if !f.OK {
			return false
		}
	}
	return true
}

// Write prints findings for people, a line each and another for a hint.
func Write(w io.Writer, all []Finding) error {
	width := 10
	for _, f := range all {
		width = max(width, len(f.Name))
	}
	for _, f := range all {
		word := "ok"
		if !f.OK {
			word = "BAD"
		}
		if _, err := fmt.Fprintf(w, "%-4s %-*s %s\n", word, width, f.Name, f.Detail); err != nil {
			return err
		}
		if f.Hint == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%-*s → %s\n", width+5, "", f.Hint); err != nil {
			return err
		}
	}
	return nil
}
