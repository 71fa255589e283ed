package checkup_test

import (
	"errors"
	"strings"
	"testing"

	"borealis/agent/checkup"
)

// TestWrite: one line for each finding, and one for what to do.
func TestWrite(t *testing.T) {
	all := []checkup.Finding{
		checkup.Well("disk", "%d MB left", 7),
		checkup.Unwell("engine", errors.New("nobody answers"), "start it"),
	}
	var b strings.Builder
	if err := checkup.Write(&b, all); err != nil {
		t.Fatal(err)
	}
	const want = "ok   disk       7 MB left\nBAD  engine     nobody answers\n                → start it\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
	if checkup.AllOK(all) || !checkup.AllOK(all[:1]) {
		t.Error("AllOK counts wrong")
	}
}
