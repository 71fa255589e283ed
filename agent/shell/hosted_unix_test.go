//go:build unix

package shell

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// host starts a line of sh on a host's terminal.
func host(t *testing.T, line string) *watched {
	t.Helper()
	p, err := startHosted(command{shell: "/bin/sh", line: line, env: []string{"BOREALIS_OPERATOR=Ada"}, size: size{100, 30}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return watch(p)
}

func TestHosted(t *testing.T) {
	t.Parallel()
	w := host(t, `stty -echo; echo "$BOREALIS_OPERATOR äöü"; stty size; read x; echo "heard $x"; exit 37`)
	w.expect(t, "Ada äöü\r\n30 100\r\n")
	if _, err := io.WriteString(w.process, "漢字\n"); err != nil {
		t.Fatal(err)
	}
	w.expect(t, "heard 漢字")
	if how := w.finish(t); how.status != 37 {
		t.Errorf("ended with %v, want status 37", how)
	}
	if err := w.Resize(size{80, 24}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("resize after the end: %v", err)
	}
}

func TestHostedIsResized(t *testing.T) {
	t.Parallel()
	w := host(t, `trap 'stty size' WINCH; echo up; while :; do sleep 0.02; done`)
	w.expect(t, "up")
	for _, s := range []size{{1, 1}, {132, 43}} { // the last one counts
		if err := w.Resize(s); err != nil {
			t.Fatal(err)
		}
	}
	w.expect(t, "43 132\r\n")
	w.Kill()
	w.finish(t)
}

func TestHostedEndsWithItsAgent(t *testing.T) {
	t.Parallel()
	w := host(t, `echo "pid $$ end"; trap '' HUP TERM; while :; do sleep 1; done`)
	w.expect(t, " end")
	begun := time.Now()
	w.Kill()
	w.Kill()
	w.finish(t)
	if took := time.Since(begun); took > hostEnds {
		t.Errorf("the host did not end by itself: %v", took)
	}
	if err := w.Signal("INT"); err == nil {
		t.Error("a program that has ended was interrupted")
	}
}

func TestHostedCannotStart(t *testing.T) {
	t.Parallel()
	_, err := startHosted(command{shell: "/nowhere/sh", size: size{80, 24}}, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "start /nowhere/sh: ") {
		t.Errorf("got %v", err)
	}
}

func TestHostThatHangsIsKilled(t *testing.T) {
	t.Setenv(childVariable, "deaf")
	w := host(t, "exit 0")
	w.Kill()
	if how := w.finish(t); how.status != 255 {
		t.Errorf("ended with %v", how)
	}
}

func TestHostIsNotForPeople(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "hello", "s\x00\x00\x00\x02no", "t\x00\x00\x00\x02{}", "s\xff\xff\xff\xff"} {
		var out strings.Builder
		if status := Host(strings.NewReader(in), &out); status != 2 || !strings.Contains(out.String(), "no use to people") {
			t.Errorf("%q: status %d, %q", in, status, out.String())
		}
	}
}
