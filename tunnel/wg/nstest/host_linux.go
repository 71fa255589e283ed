package nstest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host is one machine of a test: a network namespace, and a mount namespace with its own /run.
// It lives until its test is over, and every program started on it dies with it. All methods may
// be called concurrently.
type Host struct {
	name string
	net  *os.File // the network namespace
	work chan func()

	mu    sync.Mutex
	links int
}

// NewHost makes a host with nothing but a loopback. The test must be inside, see [Run].
func NewHost(t *testing.T, name string) *Host {
	t.Helper()
	h := &Host{name: name, work: make(chan func())}
	h.start(t, h.enter)
	return h
}

// Here returns the host that the test itself runs on, with the test's /run, so that a cable can
// be laid to it.
func Here(t *testing.T) *Host {
	t.Helper()
	h := &Host{name: "here", work: make(chan func())}
	h.start(t, func() (err error) {
		h.net, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return h
}

// start gives the host its thread, which begins with enter, and ends it with the test.
func (h *Host) start(t *testing.T, enter func() error) {
	t.Helper()
	ready, over := make(chan error), make(chan struct{})
	go func() {
		defer close(over)
		// Never unlocked: the thread belongs to the host and ends with it.
		runtime.LockOSThread()
		ready <- enter()
		for f := range h.work {
			f()
		}
	}()
	t.Cleanup(func() {
		close(h.work)
		<-over
		_ = h.net.Close()
	})
	if err := <-ready; err != nil {
		t.Fatalf("make host %s: %v", h.name, err)
	}
}

// enter moves the calling thread into new namespaces.
func (h *Host) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}
	if err := privateRun(); err != nil {
		return err
	}
	var err error
	if h.net, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	return loopbackUp()
}

// Do runs f on a thread of the host and returns its error. Sockets that f itself opens and files
// that it reads are the host's; goroutines that f starts are not on the host.
func (h *Host) Do(f func() error) error {
	done := make(chan error)
	h.work <- func() { done <- f() }
	return <-done
}

// Start starts a program on the host. It is killed when the test ends, if it still runs then;
// the test may end it earlier, and wait for it, with what Start returns. The working directory is
// the test's unless cmd says otherwise.
func (h *Host) Start(t *testing.T, cmd *exec.Cmd) *Process {
	t.Helper()
	if cmd.Dir == "" {
		dir, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Dir = dir
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := h.Do(cmd.Start); err != nil {
		t.Fatalf("start %s on %s: %v", cmd.Path, h.name, err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go func() { p.err = cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.done
	})
	return p
}

// Output runs a program on the host to its end and returns what it wrote to both its outputs.
func (h *Host) Output(t *testing.T, name string, args ...string) string {
	t.Helper()
	var text []byte
	cmd := exec.CommandContext(t.Context(), name, args...)
	err := h.Do(func() (err error) { text, err = cmd.CombinedOutput(); return err })
	if err != nil {
		t.Fatalf("%s on %s: %v\n%s", cmd, h.name, err, text)
	}
	return string(text)
}

// Process is a program that was started on a host.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid once done is closed
}

// Signal sends a signal to the program.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Done is closed when the program has ended and its output was copied.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the program and returns what [exec.Cmd.Wait] returned.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Join lays a cable between two hosts and gives each end an address. The links are named eth0,
// eth1 and so on, in the order in which a host was joined.
func Join(t *testing.T, a *Host, atA netip.Prefix, b *Host, atB netip.Prefix) {
	t.Helper()
	// Both ends are born in their hosts, so neither name is ever taken here.
	attrs := netlink.NewLinkAttrs()
	attrs.Name = a.nextLink()
	cable := &netlink.Veth{LinkAttrs: attrs, PeerName: b.nextLink(), PeerNamespace: netlink.NsFd(b.net.Fd())}
	if err := a.Do(func() error { return netlink.LinkAdd(cable) }); err != nil {
		t.Fatalf("lay a cable from %s to %s: %v", a.name, b.name, err)
	}
	for _, end := range []struct {
		host *Host
		link string
		at   netip.Prefix
	}{{a, attrs.Name, atA}, {b, cable.PeerName, atB}} {
		err := end.host.Do(func() error { return setUp(end.link, end.at) })
		if err != nil {
			t.Fatalf("set up %s of %s: %v", end.link, end.host.name, err)
		}
	}
}

// nextLink names the host's next cable.
func (h *Host) nextLink() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.links++
	return fmt.Sprintf("eth%d", h.links-1)
}

// setUp gives a link of the calling thread's namespace an address and takes it up.
func setUp(name string, at netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	address := &net.IPNet{IP: at.Addr().AsSlice(), Mask: net.CIDRMask(at.Bits(), at.Addr().BitLen())}
	a := &netlink.Addr{IPNet: address}
	if at.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrReplace(link, a); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}
