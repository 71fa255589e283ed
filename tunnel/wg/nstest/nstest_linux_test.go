package nstest_test

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"borealis/tunnel/wg/nstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// linkNames returns the names of all links of the calling thread's namespace.
func linkNames(t *testing.T) []string {
	t.Helper()
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range links {
		names = append(names, l.Name)
	}
	return names
}

func TestRunIsAloneAndRoot(t *testing.T) {
	if !nstest.Run(t) {
		return
	}
	if uid := os.Getuid(); uid != 0 {
		t.Errorf("uid is %d, want 0", uid)
	}
	if diff := cmp.Diff([]string{"lo"}, linkNames(t)); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	for _, dir := range []string{"/run", "/var/run"} {
		files, err := os.ReadDir(dir)
		if err != nil || len(files) != 0 {
			t.Errorf("%s holds %v (%v), want nothing", dir, files, err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("loopback is not up: %v", err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatalf("loopback is not up: %v", err)
	}
	c.Close()
}

func TestRunInSubtest(t *testing.T) {
	for _, name := range []string{"first one", "second/one"} {
		t.Run(name, func(t *testing.T) {
			if !nstest.Run(t) {
				return
			}
			if got := linkNames(t); len(got) != 1 {
				t.Errorf("links are %v, want only lo", got)
			}
		})
	}
}

func TestHostsAndCable(t *testing.T) {
	if !nstest.Run(t) {
		return
	}
	a, b := nstest.NewHost(t, "a"), nstest.NewHost(t, "b")
	nstest.Join(t, a, netip.MustParsePrefix("192.0.2.1/24"), b, netip.MustParsePrefix("192.0.2.2/24"))

	var listener net.Listener
	err := b.Do(func() (err error) { listener, err = net.Listen("tcp", "192.0.2.2:7"); return err })
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	err = a.Do(func() error {
		c, err := net.Dial("tcp", "192.0.2.2:7")
		if err == nil {
			err = c.Close()
		}
		return err
	})
	if err != nil {
		t.Errorf("a does not reach b: %v", err)
	}
	if c, err := net.Dial("tcp", "192.0.2.2:7"); err == nil {
		c.Close()
		t.Error("the test's own namespace reaches b, though no cable leads there")
	}
	if diff := cmp.Diff([]string{"lo"}, linkNames(t)); diff != "" {
		t.Errorf("links of the test's own namespace (-want +got):\n%s", diff)
	}
}

func TestHostsHaveTheirOwnRun(t *testing.T) {
	if !nstest.Run(t) {
		return
	}
	a, b := nstest.NewHost(t, "a"), nstest.NewHost(t, "b")
	a.Output(t, "sh", "-c", "echo mine > /run/file")
	if got := a.Output(t, "cat", "/run/file"); got != "mine\n" {
		t.Errorf("a reads %q", got)
	}
	if got := b.Output(t, "ls", "/run"); got != "" {
		t.Errorf("b sees %q of a", got)
	}
	if _, err := os.Stat("/run/file"); err == nil {
		t.Error("the test sees the file of a")
	}
}

func TestProcessDiesWithItsTest(t *testing.T) {
	if !nstest.Run(t) {
		return
	}
	var p *nstest.Process
	dir := t.TempDir()
	t.Run("inner", func(t *testing.T) {
		h := nstest.NewHost(t, "h")
		cmd := exec.Command("sh", "-c", "pwd; exec sleep 1000")
		cmd.Dir = dir
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		p = h.Start(t, cmd)
		if got, err := bufio.NewReader(out).ReadString('\n'); got != dir+"\n" || err != nil {
			t.Errorf("program runs in %q (%v), want %s", got, err, dir)
		}
	})
	if err := p.Wait(); err == nil {
		t.Error("program ended well, want it killed")
	}
}
