//go:build unix

package shell

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"borealis/agent/wire"
)

func TestExec(t *testing.T) {
	t.Parallel()
	d := newDevice(t, Config{Shell: "/bin/sh", Env: []string{"FROM_CONFIG=yes"}})
	client := d.dial(t)

	type result struct {
		Out    string
		Status int
		Signal string
	}
	for name, test := range map[string]struct {
		line string
		want result
	}{
		"output":              {`echo hello`, result{Out: "hello\r\n"}},
		"exit status":         {`exit 37`, result{Status: 37}},
		"death by signal":     {`kill -TERM $$`, result{Signal: "TERM"}},
		"UTF-8":               {`printf 'äöü€漢字'`, result{Out: "äöü€漢字"}},
		"terminal":            {`tty -s && stty size`, result{Out: "24 80\r\n"}},
		"variables":           {`echo $TERM $LANG $FROM_CONFIG`, result{Out: "xterm-256color C.UTF-8 yes\r\n"}},
		"erases characters":   {`stty -a | grep -o '[-]*iutf8'`, result{Out: "iutf8\r\n"}},
		"leads a session":     {`ps -o pid=,sid= -p $$ | awk '{print $1==$2}'`, result{Out: "1\r\n"}},
		"nothing to wait for": {`sleep 1000 & echo on its way`, result{Out: "on its way\r\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			k := open(t, client)
			if err := k.Setenv("LANG", "C.UTF-8"); err != nil {
				t.Fatal(err)
			}
			if err := k.Start(test.line); err != nil {
				t.Fatal(err)
			}
			out, err := k.end(t)
			got := result{Out: out}
			if status, ok := errors.AsType[*ssh.ExitError](err); ok {
				got.Signal = status.Signal()
				if got.Signal == "" {
					got.Status = status.ExitStatus()
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error("(-want +got)", diff)
			}
		})
	}
}

func TestShell(t *testing.T) {
	t.Parallel()
	d := newDevice(t, Config{Shell: "/bin/sh"})
	k := shell(t, d.dial(t), 100, 30)

	k.typeln(t, `echo $((6*7)) $0; stty size`)
	k.expect(t, "42 -sh\r\n30 100\r\n")
	resize := ssh.Marshal(struct{ Cols, Rows, Width, Height uint32 }{132, 43, 0, 0})
	if ok, err := k.SendRequest("window-change", true, resize); !ok || err != nil {
		t.Fatal(ok, err)
	}
	k.typeln(t, `stty size`)
	k.expect(t, "43 132\r\n")
	k.typeln(t, `exit 3`)
	_, err := k.end(t)
	if status, ok := errors.AsType[*ssh.ExitError](err); !ok || status.ExitStatus() != 3 {
		t.Errorf("shell ended with %v, want status 3", err)
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	d := newDevice(t, Config{Shell: "/bin/sh"})
	client := d.dial(t)
	k := open(t, client)
	for name, want := range map[string]bool{
		"BOREALIS_OPERATOR": true, "LANG": true, "TERM": true,
		"PATH": false, "LD_PRELOAD": false, "BOREALIS_": false, "BOREALIS_A=B": false, "PS1": false,
	} {
		if err := k.Setenv(name, "x"); (err == nil) != want {
			t.Errorf("setting %s: %v, want allowed %v", name, err, want)
		}
	}
	if err := k.Setenv("BOREALIS_REASON", "disk full; \"quoted\" ü"); err != nil {
		t.Fatal(err)
	}
	if err := k.Start(`echo $BOREALIS_OPERATOR $BOREALIS_REASON $LD_PRELOAD`); err != nil {
		t.Fatal(err)
	}
	if out, err := k.end(t); err != nil || out != "x disk full; \"quoted\" ü\r\n" {
		t.Errorf("got %q, %v", out, err)
	}

	full := open(t, client)
	for i := range maxVariables {
		if err := full.Setenv(fmt.Sprintf("BOREALIS_%d", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := full.Setenv("BOREALIS_MORE", "x"); err == nil {
		t.Errorf("more than %d variables are taken", maxVariables)
	}
}

func TestSignal(t *testing.T) {
	t.Parallel()
	d := newDevice(t, Config{Shell: "/bin/sh"})
	k := shell(t, d.dial(t), 80, 24)
	k.typeln(t, `sh -c 'trap "echo caught; exit 5" USR1; echo set; while :; do sleep 1; done'; echo left $?`)
	k.expect(t, "set\r\n")
	if err := k.Signal("USR1"); err != nil {
		t.Fatal(err)
	}
	k.expect(t, "left ")
	if ok, err := k.SendRequest("signal", true, ssh.Marshal(struct{ Name string }{"SEGV"})); ok || err != nil {
		t.Errorf("an unknown signal: %v, %v", ok, err)
	}
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	d := newDevice(t, Config{Shell: "/bin/sh"})
	checkInterrupt(t, d)
}

// checkInterrupt types Ctrl-C while a program runs.
func checkInterrupt(t *testing.T, d *device) {
	t.Helper()
	k := shell(t, d.dial(t), 80, 24)
	k.typeln(t, `sh -c 'echo run""ning; exec sleep 1000'; echo slept`)
	k.expect(t, "running")
	before, _ := k.output()
	if _, err := io.WriteString(k.in, "\x03"); err != nil {
		t.Fatal(err)
	}
	after := k.until(t, "prompt", func(out string, _ bool) bool {
		return strings.Contains(out[len(before):], "ready> ")
	})
	if strings.Contains(after, "slept") {
		t.Error("Ctrl-C did not end the line")
	}
}

func TestOutputIsWhole(t *testing.T) {
	t.Parallel()
	d := newDevice(t, Config{Shell: "/bin/sh"})
	file, want := lines(t, 8<<20)
	k := open(t, d.dial(t))
	if err := k.Start("stty -opost; cat " + file + "; exit 9"); err != nil {
		t.Fatal(err)
	}
	out, err := k.end(t)
	if got := crc32.ChecksumIEEE([]byte(out)); got != want {
		t.Errorf("%d bytes with checksum %x, want %x", len(out), got, want)
	}
	if status, ok := errors.AsType[*ssh.ExitError](err); !ok || status.ExitStatus() != 9 {
		t.Errorf("ended with %v, want status 9", err)
	}
}

// lines makes a file of numbered lines.
func lines(t testing.TB, size int) (path string, sum uint32) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "lines")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	hash := crc32.NewIEEE()
	w := io.MultiWriter(f, hash)
	for i := range size / 64 {
		if _, err := fmt.Fprintf(w, "%063d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	return f.Name(), hash.Sum32()
}

func TestCredit(t *testing.T) {
	t.Parallel()
	d := newDevice(t, Config{Shell: "/bin/sh"})
	k := open(t, d.dial(t))
	grant := func(limit uint64) {
		t.Helper()
		if _, err := k.SendRequest(wire.FlowRequest, false, ssh.Marshal(struct{ Limit uint64 }{limit})); err != nil {
			t.Fatal(err)
		}
	}
	// roundTrips gives output that is under way, against the rules, time to come.
	roundTrips := func() {
		t.Helper()
		for range 50 {
			if _, err := k.SendRequest("nothing", true, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	grant(1000)
	if err := k.Start(`yes | head -c 300000 | tr -d '\n'`); err != nil {
		t.Fatal(err)
	}
	reaches := func(want int) {
		t.Helper()
		k.until(t, fmt.Sprint(want, " bytes"), func(out string, _ bool) bool { return len(out) >= want })
		roundTrips()
		if out, _ := k.output(); len(out) != want {
			t.Fatalf("%d bytes with a credit of %d", len(out), want)
		}
	}
	reaches(1000)
	grant(100_000)
	reaches(100_000)
	grant(50_000) // less than was sent: no more, and nothing breaks
	reaches(100_000)
	grant(1 << 62)
	if out, err := k.end(t); err != nil || len(out) != 150_000 {
		t.Errorf("%d bytes, %v; want 150000", len(out), err)
	}
}

func TestShellThatIsNotThere(t *testing.T) {
	t.Parallel()
	d := newDevice(t, Config{Shell: "/nowhere/sh"})
	// The engine does not wait for replies, so what it sees is text and a status.
	k := open(t, d.dial(t))
	if _, err := k.SendRequest("shell", false, nil); err != nil {
		t.Fatal(err)
	}
	out := k.until(t, "end", func(_ string, ended bool) bool { return ended })
	if !strings.Contains(out, "could not be started") || !strings.Contains(out, "/nowhere/sh") {
		t.Errorf("the person at the terminal reads %q", out)
	}
}

func TestRefusedShell(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		asUser       bool
		choice, want string
	}{
		"a shell of Windows":   {false, wire.ShellCmd, `"cmd" is a shell of Windows`},
		"an unknown shell":     {false, "fish", `this agent knows no shell "fish"`},
		"a policy for Windows": {true, "", "shells as the signed-in user only"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t, Config{Shell: "/bin/sh", AsUser: test.asUser})
			k := open(t, d.dial(t))
			if test.choice != "" {
				if err := k.Setenv(wire.ShellVariable, test.choice); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := k.SendRequest("shell", false, nil); err != nil {
				t.Fatal(err)
			}
			out := k.until(t, "end", func(_ string, ended bool) bool { return ended })
			if !strings.Contains(out, test.want) {
				t.Errorf("the person at the terminal reads %q", out)
			}
		})
	}
}

func TestPwshByName(t *testing.T) {
	pwsh := filepath.Join(t.TempDir(), "pwsh")
	t.Setenv("PATH", filepath.Dir(pwsh))
	if _, err := choose(command{choice: wire.ShellPwsh}); !errors.Is(err, errNoPwsh) {
		t.Errorf("without it: %v", err)
	}
	if err := os.WriteFile(pwsh, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if path, err := choose(command{shell: "/bin/sh", choice: wire.ShellPwsh}); path != pwsh || err != nil {
		t.Errorf("got %q, %v", path, err)
	}
}

func TestSecondShellInASession(t *testing.T) {
	t.Parallel()
	d := newDevice(t, Config{Shell: "/bin/sh"})
	k := shell(t, d.dial(t), 80, 24)
	for _, r := range []string{"shell", "exec", "pty-req", "env"} {
		if ok, err := k.SendRequest(r, true, ssh.Marshal(struct{ A, B string }{"BOREALIS_A", "x"})); ok || err != nil {
			t.Errorf("%s in a running session: %v, %v", r, ok, err)
		}
	}
	k.typeln(t, "echo still here")
	k.expect(t, "still here")
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(ssh.Marshal(struct{ Limit uint64 }{1}))
	f.Add(ssh.Marshal(struct{ Name, Value string }{"BOREALIS_A", "b"}))
	f.Add(ssh.Marshal(struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}{"xterm", 1 << 31, 0, 0, 0, "\x00"}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		s := newSession(&server{}, nil, nil)
		s.flow(payload)
		s.pty(payload)
		s.resize(payload)
		s.signal(payload)
		s.variable(payload)
		if c := s.command.size; c.cols == 0 || c.rows == 0 || c.cols > maxCells || c.rows > maxCells {
			t.Errorf("size %v", c)
		}
		for _, v := range s.command.env {
			if strings.ContainsRune(v, 0) || !strings.Contains(v, "=") {
				t.Errorf("variable %q", v)
			}
		}
	})
}
