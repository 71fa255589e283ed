package service

import "testing"

func TestStarts(t *testing.T) {
	t.Parallel()
	const exe = `C:\Program Files\Borealis\borealis-agent.exe`
	for command, want := range map[string]bool{
		`"C:\Program Files\Borealis\borealis-agent.exe" service run`: true,
		`"c:\program files\borealis\BOREALIS-AGENT.EXE"`:             true,
		`C:\Program Files\Borealis\borealis-agent.exe service run`:   true,
		`C:\Program Files\Borealis\borealis-agent.exe`:               true,
		`"C:\Program Files\Borealis\borealis-agent.exe.old" service`: false,
		`C:\Program Files\Borealis\borealis-agent.exe.old`:           false,
		`"C:\Program Files\Other\borealis-agent.exe" service run`:    false,
		`cmd.exe "C:\Program Files\Borealis\borealis-agent.exe"`:     false,
		``: false,
	} {
		if got := (State{Command: command}).Starts(exe); got != want {
			t.Errorf("%s: %t, want %t", command, got, want)
		}
	}
}
