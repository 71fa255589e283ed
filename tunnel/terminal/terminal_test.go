package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"borealis/agent/wire"
)

func TestShell(t *testing.T) {
	t.Parallel()
	c := newDevice(t).config(t)
	c.Cols, c.Rows = 100, 30
	c.Env = map[string]string{"BOREALIS_OPERATOR": "Ada", "PATH": "/nowhere", "LANG": "C.UTF-8"}
	term := open(t, c)
	r := quiet(t, term)

	r.typeln(`echo $((6*7)) $BOREALIS_OPERATOR $LANG $TERM äöü€漢字; stty size`)
	r.expect("42 Ada C.UTF-8 xterm-256color äöü€漢字\n30 100\n")
	if err := term.Resize(132, 43); err != nil {
		t.Fatal(err)
	}
	if cols, rows := term.Size(); cols != 132 || rows != 43 {
		t.Errorf("size is %d×%d", cols, rows)
	}
	r.typeln(`until [ "$(stty size)" = "43 132" ]; do :; done; echo resized`)
	r.expect("resized\n")
	if _, err := term.Exit(); err == nil {
		t.Error("a running shell has an exit")
	}
	r.typeln(`echo last words; exit 37`)
	r.expect("last words\n")
	for err := error(nil); err != io.EOF; err = r.more() {
		if err != nil {
			t.Fatal(err)
		}
	}
	waitDone(t, term)
	if status, err := term.Exit(); status != 37 || err != nil {
		t.Errorf("exit %d, %v; want 37", status, err)
	}
	if _, err := term.Write([]byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("typing into a terminal that is done: %v", err)
	}
	for range 2 {
		if err := term.Close(); err != nil {
			t.Error("closing twice:", err)
		}
	}
}

func TestShellByName(t *testing.T) {
	t.Parallel()
	c := newDevice(t).config(t)
	c.Shell = wire.ShellCmd
	term := open(t, c)
	watch(t, term, -1).expect(`"cmd" is a shell of Windows`)
	waitDone(t, term)
	status, err := term.Exit()
	if refused, ok := errors.AsType[*RefusedError](err); !ok || status != 127 || !strings.HasPrefix(refused.Why, `"cmd" is a shell of Windows`) {
		t.Errorf("exit %d, %v; want 127 and why", status, err)
	}
}

func TestSentence(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"nobody is signed in": "nobody is signed in", "a\x1b[2J\u202eb\n\xff": "a[2Jb", "": "", " \t ": "",
		strings.Repeat("é", maxRefusal): strings.Repeat("é", maxRefusal/2), "x" + strings.Repeat("é", maxRefusal): "x" + strings.Repeat("é", (maxRefusal-1)/2),
	} {
		if got := sentence(given); got != want {
			t.Errorf("sentence(%q) = %q, want %q", given, got, want)
		}
	}
}

func TestExitBySignal(t *testing.T) {
	t.Parallel()
	term := open(t, newDevice(t).config(t))
	r := quiet(t, term)
	r.typeln(`kill -KILL $$`)
	waitDone(t, term)
	status, err := term.Exit()
	if killed, ok := errors.AsType[*SignalError](err); !ok || status != -1 || killed.Signal != "KILL" {
		t.Errorf("exit %d, %v; want signal KILL", status, err)
	}
}

func TestSignalName(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"KILL": "KILL", "RTMIN+1": "RTMIN+1", "sig@openssh.com": "sig@openssh.com",
		"": "unknown", "KILL\n": "unknown", "<b>": "unknown", "ü": "unknown", strings.Repeat("A", 33): "unknown",
	} {
		if got := signalName(given); got != want {
			t.Errorf("signalName(%q) = %q, want %q", given, got, want)
		}
	}
}

func TestOutputIsWhole(t *testing.T) {
	t.Parallel()
	size := 50 << 20
	if testing.Short() {
		size = 8 << 20
	}
	path, want := stream(t, size)
	term := open(t, newDevice(t).config(t))
	r := quiet(t, term)
	r.typeln("cat " + path)
	for len(r.out) < len(want) {
		if err := r.more(); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(r.out[:len(want)], want) {
		t.Error("the output is not what was written")
	}
	r.out = r.out[len(want):]
	r.expect("ready> ")
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	_, other := newKey(t)
	for name, test := range map[string]struct {
		change func(*Config)
		want   error
	}{
		"wrong host key":   {func(c *Config) { c.HostKey[0] ^= 1 }, ErrHostKey},
		"wrong client key": {func(c *Config) { c.ClientKey = other }, nil},
		"no client key":    {func(c *Config) { c.ClientKey = nil }, nil},
	} {
		c := d.config(t)
		test.change(&c)
		term, err := Open(t.Context(), c)
		if err == nil {
			term.Close()
		}
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
		if err := c.Conn.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the connection is left open: %v", name, err)
		}
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go io.Copy(io.Discard, theirs) // a device that says nothing
	_, key := newKey(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, Config{Conn: ours, ClientKey: key}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestFullDevice(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	for range 16 {
		open(t, d.config(t))
	}
	term, err := Open(t.Context(), d.config(t))
	if !errors.Is(err, ErrFull) {
		term.Close()
		t.Errorf("terminal 17: got %v, want %v", err, ErrFull)
	}
}

func TestCloseEndsTheShell(t *testing.T) {
	t.Parallel()
	term := open(t, newDevice(t).config(t))
	r := quiet(t, term)
	r.typeln(`sleep 1000 & trap "" HUP; echo "<$$ $!>"; while :; do sleep 1000; done`)
	r.expect("<")
	var pids [2]int
	if _, err := fmt.Sscan(r.expect(">"), &pids[0], &pids[1]); err != nil {
		t.Fatal(err)
	}
	why := errors.New("enough")
	term.CloseFor(why)
	term.Close()
	term.CloseFor(io.ErrShortWrite)
	if _, err := term.Exit(); !errors.Is(err, ErrClosed) || !errors.Is(err, why) || errors.Is(err, io.ErrShortWrite) {
		t.Errorf("exit %v, want %v for the reason %v", err, ErrClosed, why)
	}
	for err := r.more(); err != io.EOF; err = r.more() {
		if err != nil {
			t.Fatal(err)
		}
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patient)
	for _, pid := range pids {
		for alive(pid) {
			select {
			case <-tick.C:
			case <-late:
				t.Fatalf("process %d outlives its terminal", pid)
			}
		}
	}
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func TestLostConnection(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	term := open(t, d.config(t))
	r := quiet(t, term)
	d.stop()
	waitDone(t, term)
	if status, err := term.Exit(); status != -1 || !errors.Is(err, ErrLost) {
		t.Errorf("exit %d, %v; want %v", status, err, ErrLost)
	}
	if err := r.more(); err != io.EOF {
		t.Errorf("Next: %v, want io.EOF", err)
	}
	if err := term.Resize(80, 24); err == nil {
		t.Error("resized a terminal that is gone")
	}
}

func TestEverybodyAtOnce(t *testing.T) {
	t.Parallel()
	term := open(t, newDevice(t).config(t))
	quiet(t, term).Close()
	if _, err := term.Write([]byte("while :; do echo output; done\n")); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 20 {
				r := watch(t, term, -1)
				for range 10 {
					if err := r.more(); err != nil {
						t.Errorf("Next: %v", err)
						return
					}
				}
				if err := term.Resize(80+i, 24); err != nil {
					t.Error(err)
				}
				if _, err := term.Write([]byte("x")); err != nil {
					t.Error(err)
				}
				if term.Viewers() == 0 || r.Window() == 0 || term.ID() == "" {
					t.Error("a viewer is not counted")
				}
				r.Close()
			}
		})
	}
	all.Wait()
	if n := term.Viewers(); n != 0 {
		t.Errorf("%d viewers left", n)
	}
	all.Go(func() { term.Close() })
	all.Go(func() { term.Close() })
	all.Wait()
}
