package setup

import "testing"

func TestOption(t *testing.T) {
	t.Parallel()
	const command = `"C:\Program Files\Borealis\borealis-agent.exe" service run --data "D:\two words" --link netstack`
	for name, want := range map[string]string{"--data": `D:\two words`, "--link": "netstack", "--lin": "", "--other": ""} {
		if got := option(command, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := option(`x --data D:\one --link`, "--data"); got != `D:\one` {
		t.Errorf("without quotes it is %q", got)
	}
}
