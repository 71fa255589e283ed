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
	"syscall"
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
		fmt.Fprintf(console("CONOUT$"), "hello äöü, I began with %s [%s]\n", os.Getenv("BOREALIS_OPERATOR"), os.Getenv("AGENTS_OWN"))
		return 37
	case "echo":
		line, err := bufio.NewReader(console("CONIN$")).ReadString('\n')
		fmt.Fprintf(console("CONOUT$"), "heard %s, %v\n", strings.TrimSpace(line), err)
		return 0
	case "size":
		for out, last := console("CONOUT$"), ""; ; <-time.After(20 * time.Millisecond) { // nothing tells it when it reads no events
			var info windows.ConsoleScreenBufferInfo
			if err := windows.GetConsoleScreenBufferInfo(windows.Handle(out.Fd()), &info); err != nil {
				return 95
			}
			now := fmt.Sprintf("size %dx%d\n", info.Window.Right-info.Window.Left+1, info.Window.Bottom-info.Window.Top+1)
			if now != last {
				fmt.Fprint(out, now)
			}
			last = now
		}
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

// self returns the path of the test program.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// stages are where a program can have its console.
var stages = map[string]func(command) (process, error){
	"own": start,
	"hosted": func(c command) (process, error) {
		return startHosted(c, &syscall.SysProcAttr{CreationFlags: windows.CREATE_NO_WINDOW})
	},
}

// play starts the test program in a part.
func play(t *testing.T, start func(command) (process, error), part string) *watched {
	t.Helper()
	p, err := start(command{shell: self(t), env: []string{childVariable + "=" + part, "BOREALIS_OPERATOR=Ada"}, size: size{100, 30}})
	if err != nil {
		t.Fatal(err)
	}
	return watch(p)
}

// onStages runs a test with a console of its own and with a hosted one.
func onStages(t *testing.T, part string, test func(t *testing.T, w *watched)) {
	t.Parallel()
	for name, start := range stages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, play(t, start, part))
		})
	}
}

func TestConsole(t *testing.T) {
	onStages(t, "greet", func(t *testing.T, w *watched) {
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
	})
}

func TestConsoleInput(t *testing.T) {
	onStages(t, "echo", func(t *testing.T, w *watched) {
		if _, err := io.WriteString(w.process, "typed\r"); err != nil {
			t.Fatal(err)
		}
		w.expect(t, "heard typed")
		w.finish(t)
	})
}

func TestConsoleSize(t *testing.T) {
	onStages(t, "size", func(t *testing.T, w *watched) {
		w.expect(t, "size 100x30")
		if err := w.Resize(size{1, 1}); err != nil {
			t.Fatal(err)
		}
		if err := w.Resize(size{132, 43}); err != nil { // the last one counts
			t.Fatal(err)
		}
		w.expect(t, "size 132x43")
		if err := w.Resize(size{70, 20}); err != nil {
			t.Fatal(err)
		}
		w.expect(t, "size 70x20")
		w.Kill()
		w.finish(t)
	})
}

func TestConsoleTreeIsKilled(t *testing.T) {
	onStages(t, "parent", func(t *testing.T, w *watched) {
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
	})
}

func TestServeConsole(t *testing.T) {
	t.Parallel()
	d := newDevice(t, Config{Shell: self(t), Env: []string{childVariable + "=greet"}})
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

	sleeper := newDevice(t, Config{Shell: self(t), Env: []string{childVariable + "=parent"}})
	k = open(t, sleeper.dial(t))
	if err := k.Shell(); err != nil {
		t.Fatal(err)
	}
	k.expect(t, " end")
	sleeper.stop() // fails the test when the tree does not end
}

func TestConsoleThatCannotStart(t *testing.T) {
	t.Parallel()
	nowhere := command{shell: `C:\nowhere\shell.exe`, size: size{80, 24}}
	if _, err := start(nowhere); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := stages["hosted"](nowhere); err == nil || !strings.HasPrefix(err.Error(), `start C:\nowhere\shell.exe: `) {
		t.Errorf("got %v from a host", err)
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
		if line := commandLine(command{shell: test.shell, line: test.line}); line != test.want {
			t.Errorf("%s with %q: got %s, want %s", test.shell, test.line, line, test.want)
		}
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
