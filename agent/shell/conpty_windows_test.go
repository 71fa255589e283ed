package shell

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/windows"
)

// child is a program on a console that opens the console by name, so that it needs no standard handles.
func child(part string) int {
	console := func(name string) *os.File {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			os.Exit(97)
		}
		return f
	}
	switch part {
	case "greet":
		fmt.Fprintf(console("CONOUT$"), "hello äöü, I began with %s\n", os.Getenv("BOREALIS_OPERATOR"))
		return 37
	case "echo":
		line, err := bufio.NewReader(console("CONIN$")).ReadString('\n')
		fmt.Fprintf(console("CONOUT$"), "heard %s, %v\n", strings.TrimSpace(line), err)
		return 0
	case "parent":
		grandchild := exec.Command(os.Args[0])
		grandchild.Env = append(os.Environ(), childVariable+"=sleep")
		if err := grandchild.Start(); err != nil {
			return 98
		}
		fmt.Fprintf(console("CONOUT$"), "pids %d %d end\n", os.Getpid(), grandchild.Process.Pid)
		<-time.After(time.Hour)
	case "sleep":
		<-time.After(time.Hour)
	}
	return 96
}

// watched is a process whose output is kept.
type watched struct {
	*process
	console
	out sync.WaitGroup
}

// play starts the test program in a part.
func play(t *testing.T, part string) *watched {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := start(command{shell: self, env: []string{childVariable + "=" + part, "BOREALIS_OPERATOR=Ada"}, size: size{100, 30}})
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{process: p}
	w.grown = make(chan struct{}, 1)
	w.out.Go(func() { w.console.read(p) })
	return w
}

// finish waits for the end and gives everything back.
func (w *watched) finish(t *testing.T) exit {
	t.Helper()
	how := w.process.Wait()
	w.out.Wait()
	if err := w.process.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	return how
}

func TestConsole(t *testing.T) {
	t.Parallel()
	w := play(t, "greet")
	how := w.finish(t)
	if how.status != 37 {
		t.Errorf("ended with %v, want status 37", how)
	}
	if out, _ := w.output(); !strings.Contains(out, "hello äöü, I began with Ada") {
		t.Errorf("printed %q", out)
	}
	if err := w.Resize(size{80, 24}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("resize after the end: %v", err)
	}
	w.Kill()
}

func TestConsoleInput(t *testing.T) {
	t.Parallel()
	w := play(t, "echo")
	if _, err := io.WriteString(w.process, "typed\r"); err != nil {
		t.Fatal(err)
	}
	w.expect(t, "heard typed")
	w.finish(t)
}

func TestConsoleTreeIsKilled(t *testing.T) {
	t.Parallel()
	w := play(t, "parent")
	_, list, _ := strings.Cut(w.expect(t, " end"), "pids ")
	list, _, _ = strings.Cut(list, " end")
	for word := range strings.FieldsSeq(list) {
		pid, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		handle, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(pid))
		if err != nil {
			t.Fatalf("process %d is not there to be killed: %v", pid, err)
		}
		defer windows.CloseHandle(handle)
		defer func() {
			const soon = 10_000 // ms
			if event, err := windows.WaitForSingleObject(handle, soon); err != nil || event != windows.WAIT_OBJECT_0 {
				t.Errorf("process %d lives: %v, %v", pid, event, err)
			}
		}()
	}
	w.Kill()
	w.finish(t)
}

func TestServeConsole(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := newDevice(t, Config{Shell: self, Env: []string{childVariable + "=greet"}})
	k := open(t, d.dial(t))
	if err := k.Setenv("BOREALIS_OPERATOR", "Grace"); err != nil {
		t.Fatal(err)
	}
	if err := k.RequestPty("xterm-256color", 30, 100, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	if err := k.Shell(); err != nil {
		t.Fatal(err)
	}
	out, err := k.end(t)
	if status, ok := errors.AsType[*ssh.ExitError](err); !ok || status.ExitStatus() != 37 || !strings.Contains(out, "I began with Grace") {
		t.Errorf("ended with %v after %q", err, out)
	}

	sleeper := newDevice(t, Config{Shell: self, Env: []string{childVariable + "=parent"}})
	k = open(t, sleeper.dial(t))
	if err := k.Shell(); err != nil {
		t.Fatal(err)
	}
	k.expect(t, " end")
	sleeper.stop() // fails the test when the tree does not end
}

func TestConsoleThatCannotStart(t *testing.T) {
	t.Parallel()
	if _, err := start(command{shell: `C:\nowhere\shell.exe`, size: size{80, 24}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ shell, line, want string }{
		{`C:\Program Files\PowerShell\7\pwsh.exe`, "", `"C:\Program Files\PowerShell\7\pwsh.exe" -NoLogo -NoExit -Command "` + speakUTF8 + `"`},
		{`C:\w\PowerShell.exe`, `echo "a b"`, `C:\w\PowerShell.exe -NoLogo -NonInteractive -EncodedCommand ` + encoded(speakUTF8+"\n"+`echo "a b"`)},
		{`C:\w\cmd.exe`, "", `C:\w\cmd.exe /d /k chcp 65001>nul`},
		{`C:\w\cmd.exe`, `dir "C:\a b"`, `C:\w\cmd.exe /d /s /c "chcp 65001>nul & dir "C:\a b""`},
		{`C:\w\bash.exe`, `echo "a b"`, `C:\w\bash.exe -c "echo \"a b\""`},
		{`C:\w\bash.exe`, "", `C:\w\bash.exe`},
	} {
		program, line, err := commandLine(command{shell: test.shell, line: test.line})
		if program != test.shell || line != test.want || err != nil {
			t.Errorf("%s with %q: got %s, %v; want %s", test.shell, test.line, line, err, test.want)
		}
	}
	program, line, err := commandLine(command{})
	if err != nil || !strings.HasSuffix(strings.ToLower(program), `\system32\windowspowershell\v1.0\powershell.exe`) || !strings.Contains(line, "UTF8") {
		t.Errorf("by default %s with %s, %v", program, line, err)
	}
	if got := encoded("Aä"); got != "QQDkAA==" {
		t.Errorf("encoded %s", got)
	}
}

func TestBlock(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		env  []string
		want []string
	}{
		"later wins, in any case": {[]string{"Path=a", "X=1", "PATH=b"}, []string{"X=1", "PATH=b"}},
		"current folders stay":    {[]string{`=C:=C:\a`, `=D:=D:\b`}, []string{`=C:=C:\a`, `=D:=D:\b`}},
		"nonsense goes":           {[]string{"", "x", "NUL=a\x00b", "A="}, []string{"A="}},
		"nothing":                 {nil, nil},
	} {
		units := block(test.env)
		if n := len(units); n < 2 || units[n-1] != 0 || units[n-2] != 0 {
			t.Errorf("%s: the block ends with %v", name, units)
		}
		var got []string
		for len(units) > 0 && units[0] != 0 {
			v := windows.UTF16ToString(units)
			got = append(got, v)
			units = units[len(windows.StringToUTF16(v)):]
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got) %s", name, diff)
		}
	}
}
