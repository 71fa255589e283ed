package shell

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"borealis/agent/wire"
)

// cmdShell opens the Command Prompt by its name.
func cmdShell(t *testing.T, c Config) *console {
	t.Helper()
	k := open(t, newDevice(t, c).dial(t))
	if err := k.Setenv(wire.ShellVariable, wire.ShellCmd); err != nil {
		t.Fatal(err)
	}
	if err := k.Setenv("BOREALIS_OPERATOR", "Ada Löve"); err != nil {
		t.Fatal(err)
	}
	if err := k.RequestPty("xterm-256color", 30, 120, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	if err := k.Shell(); err != nil {
		t.Fatal(err)
	}
	k.until(t, "prompt", func(out string, _ bool) bool { return strings.Contains(out, `:\`) && strings.Contains(out, ">") })
	return k
}

// enter types a line as a person does.
func (k *console) enter(t *testing.T, line string) {
	t.Helper()
	if _, err := fmt.Fprint(k.in, line+"\r"); err != nil {
		t.Fatal(err)
	}
}

func TestCommandPrompt(t *testing.T) {
	t.Parallel()
	k := cmdShell(t, Config{Shell: self(t)})
	k.enter(t, "echo [%BOREALIS_OPERATOR%]")
	k.expect(t, "[Ada Löve]")
	k.enter(t, "set x=äöü€漢字")
	k.enter(t, "echo [%x%%x%]")
	k.expect(t, "[äöü€漢字äöü€漢字]")
	k.enter(t, "exit 37")
	_, err := k.end(t)
	if status, ok := errors.AsType[*ssh.ExitError](err); !ok || status.ExitStatus() != 37 {
		t.Errorf("ended with %v, want status 37", err)
	}
}

// sequence is what a console says between the characters.
var sequence = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]`)

func TestCommandPromptFloods(t *testing.T) {
	t.Parallel()
	const lines = 60_000 // of 50 bytes
	file := filepath.Join(t.TempDir(), "flood.txt")
	var text strings.Builder
	for i := range lines {
		fmt.Fprintf(&text, "%06d%s\r\n", i, strings.Repeat("=", 42))
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("own", func(t *testing.T) { floods(t, file, lines, Config{}) })
	t.Run("as user", func(t *testing.T) {
		needUser(t)
		floods(t, file, lines, Config{AsUser: true})
	})
}

// floods types a file of numbered lines.
func floods(t *testing.T, file string, lines int, c Config) {
	t.Helper()
	k := cmdShell(t, c)
	k.enter(t, "type "+file)
	k.enter(t, "exit 3")
	out, err := k.end(t)
	if status, ok := errors.AsType[*ssh.ExitError](err); !ok || status.ExitStatus() != 3 {
		t.Errorf("ended with %v, want status 3", err)
	}
	if out = sequence.ReplaceAllString(out, ""); len(out) < 2_900_000 {
		t.Errorf("%d bytes came", len(out))
	}
	for i := range lines {
		at := strings.Index(out, fmt.Sprintf("%06d=", i))
		if at < 0 {
			t.Fatalf("line %d is missing", i)
		}
		out = out[at:]
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	folder, err := windows.GetSystemDirectory()
	if err != nil {
		t.Fatal(err)
	}
	const powershell = `\WindowsPowerShell\v1.0\powershell.exe`
	for _, test := range []struct{ shell, choice, want string }{
		{"", "", folder + powershell},
		{`C:\own.exe`, "", `C:\own.exe`},
		{`C:\own.exe`, wire.ShellPowerShell, folder + powershell},
		{`C:\own.exe`, wire.ShellCmd, folder + `\cmd.exe`},
	} {
		if got, err := choose(command{shell: test.shell, choice: test.choice}); got != test.want || err != nil {
			t.Errorf("%q with %q: got %q, %v, want %q", test.choice, test.shell, got, err, test.want)
		}
	}
	if _, err := choose(command{choice: "fish"}); err == nil || !strings.Contains(err.Error(), `no shell "fish"`) {
		t.Errorf("an unknown one: %v", err)
	}
}

func TestChoosePwsh(t *testing.T) {
	t.Parallel()
	if windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() != nil {
		t.Skip("this writes to the machine's registry, which is for Wine")
	}
	if path, err := choose(command{choice: wire.ShellPwsh}); !errors.Is(err, errNoPwsh) {
		t.Errorf("without it: %q, %v", path, err)
	}
	programs, err := windows.KnownFolderPath(windows.FOLDERID_ProgramFiles, 0)
	if err != nil {
		t.Fatal(err)
	}
	usual := filepath.Join(programs, "PowerShell", "7", "pwsh.exe")
	other := filepath.Join(t.TempDir(), "pwsh.exe")
	for _, file := range []string{usual, other} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(filepath.Dir(usual))) })
	if path, err := choose(command{choice: wire.ShellPwsh}); path != usual || err != nil {
		t.Errorf("at the usual place: %q, %v", path, err)
	}
	key, _, err := registry.CreateKey(registry.LOCAL_MACHINE, appPath, registry.SET_VALUE|registry.WOW64_64KEY)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		key.Close()
		if err := registry.DeleteKey(registry.LOCAL_MACHINE, appPath); err != nil {
			t.Error(err)
		}
	})
	for value, want := range map[string]string{`"` + other + `"`: other, other: other, `C:\gone\pwsh.exe`: usual, "pwsh.exe": usual} {
		if err := key.SetStringValue("", value); err != nil {
			t.Fatal(err)
		}
		if path, err := choose(command{choice: wire.ShellPwsh}); path != want || err != nil {
			t.Errorf("registered as %s: %q, %v", value, path, err)
		}
	}
}

func TestNotTooOld(t *testing.T) {
	t.Parallel()
	if err := TooOld(); err != nil {
		t.Error(err)
	}
}
