package handlers

import (
	"strings"
	"testing"

	"borealis/handlers/access"
)

// TestTerminalShell: a page may ask for another shell than the device's own, and a person
// reads why there is none.
func TestTerminalShell(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device := r.realAgent()
	b := r.browser("ann", access.Operator)
	b.connect(device, "t1")
	s := b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Offset: -1, Shell: "cmd"})
	if m := s.hear("exit", "error"); m["type"] != "exit" || m["status"] != 127.0 || m["refusal"] != `"cmd" is a shell of Windows, which this device does not run: choose the device's own.` {
		t.Errorf("a shell of Windows on Linux: %v", m)
	}
	if text := s.text.String(); !strings.Contains(text, `"cmd" is a shell of Windows, which this device does not run`) {
		t.Errorf("the screen shows %q", text)
	}
	s = b.open(device, terminalHello{Ticket: b.ticket(device), Tab: "t1", Offset: -1, Shell: "../fish"})
	if m := s.hear("hello", "error"); m["code"] != string(codeInvalid) || m["message"] != "Device cannot be asked for that shell: there is none of that name." {
		t.Errorf("a shell that nobody knows: %v", m)
	}
}
