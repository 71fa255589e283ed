package views

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Which shell to start can be chosen where there is more than one.
func TestShellChoice(t *testing.T) {
	t.Parallel()
	v := cannedDevice(TabShell)
	var got []string
	for _, option := range elements(one(t, parse(t, terminal(v)), "terminal-shell"), named("option")) {
		value, _ := attribute(option, "value")
		got = append(got, value+": "+text(option))
	}
	if diff := cmp.Diff([]string{": Default shell", "pwsh: PowerShell 7", "cmd: Command Prompt"}, got); diff != "" {
		t.Errorf("choices (-want +got)\n%s", diff)
	}
	for _, os := range []string{"linux", ""} {
		v.OS = os
		if having(parse(t, terminal(v)), "terminal-shell") != 0 {
			t.Errorf("a choice of shells on %q", os)
		}
	}
}
