package nstest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	manyIDs   = 65536           // user and group ids that root can use inside
	graceTime = 5 * time.Second // what a test inside gets less than the test outside
)

// insideEnv names, inside the namespaces, the test that runs there.
const insideEnv = "BOREALIS_NSTEST"

// Run runs the calling test again inside namespaces of its own and reports the result of that
// as the result of t. It returns true inside, where the test goes on, and false outside, where
// it is over. Call it first, in a test that is not parallel to itself.
func Run(t *testing.T) bool {
	t.Helper()
	if name := os.Getenv(insideEnv); name != "" {
		if name == t.Name() {
			arrange(t)
		}
		return true
	}
	outside(t)
	return false
}

// TUN skips the test unless a TUN device can be opened.
func TUN(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		Skip(t, fmt.Sprintf("no TUN device can be opened: %v", err))
		return
	}
	_ = f.Close()
}

// outside starts the test inside and reports for it.
func outside(t *testing.T) {
	t.Helper()
	// The child is to die with the thread that made it, so keep that one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx := t.Context()
	if deadline, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-time.Second))
		defer cancel()
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, self, arguments(t)...)
	// With the race detector a process otherwise waits a second before it ends.
	race := strings.TrimSpace(os.Getenv("GORACE") + " atexit_sleep_ms=0")
	cmd.Env = append(os.Environ(), insideEnv+"="+t.Name(), "GORACE="+race)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = attributes()
	err = cmd.Start()
	switch {
	case denied(err):
		Skip(t, fmt.Sprintf("this machine makes no namespaces for us: %v", err))
	case err != nil:
		t.Fatal(err)
	}
	report(t, cmd.Wait(), output.String())
}

// denied reports whether err says that namespaces are switched off, used up or unknown here.
func denied(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EPERM, syscall.EACCES, syscall.ENOSPC, syscall.EUSERS, syscall.EINVAL, syscall.ENOSYS,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// attributes asks for the namespaces. An ordinary user becomes the only user inside, as root;
// root keeps all its users.
func attributes() *syscall.SysProcAttr {
	ids := 1
	if os.Geteuid() == 0 {
		ids = manyIDs
	}
	return &syscall.SysProcAttr{
		Cloneflags:                 syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		UidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: ids}},
		GidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: ids}},
		GidMappingsEnableSetgroups: ids > 1,
		Pdeathsig:                  syscall.SIGKILL,
	}
}

// arguments selects this one test and passes on the flags that mean something inside.
func arguments(t *testing.T) []string {
	parts := strings.Split(t.Name(), "/")
	for n, p := range parts {
		parts[n] = "^" + regexp.QuoteMeta(p) + "$"
	}
	args := []string{"-test.run=" + strings.Join(parts, "/"), "-test.v=true", "-test.count=1"}
	if deadline, ok := t.Deadline(); ok {
		args = append(args, fmt.Sprintf("-test.timeout=%s", max(time.Until(deadline)-graceTime, graceTime)))
	}
	for _, name := range []string{"test.short", "test.cpu", "test.parallel", "test.gocoverdir"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != f.DefValue {
			args = append(args, "-"+name+"="+f.Value.String())
		}
	}
	return args
}

// report makes the result inside the result outside.
func report(t *testing.T, err error, output string) {
	t.Helper()
	switch verdict(t.Name(), err, output) {
	case "pass":
		t.Logf("inside the namespaces:\n%s", output)
	case "skip":
		t.Skip("inside the namespaces:\n" + output) // whether that is allowed was decided there
	default:
		t.Errorf("inside the namespaces: %v\n%s", err, output)
	}
}

// verdict reads the result of a test from how its process ended and what it wrote: pass, skip or
// fail. A test that did not run at all has failed.
func verdict(name string, err error, output string) string {
	result := func(word string) bool {
		line := regexp.MustCompile(`(?m)^ *--- ` + word + ": " + regexp.QuoteMeta(name) + ` \(`)
		return line.MatchString(output)
	}
	switch {
	case err != nil || result("FAIL"):
		return "fail"
	case result("SKIP"):
		return "skip"
	case result("PASS"):
		return "pass"
	}
	return "fail"
}

// arrange makes the namespaces habitable: a /run of one's own and a loopback that is up.
func arrange(t *testing.T) {
	t.Helper()
	err := privateRun()
	if errors.Is(err, os.ErrPermission) {
		Skip(t, fmt.Sprintf("this machine gives namespaces no power: %v", err))
	}
	if err == nil {
		err = loopbackUp()
	}
	if err != nil {
		t.Fatalf("arrange the namespaces: %v", err)
	}
}

// privateRun puts an empty /run, and /var/run where it is not the same, before the host's.
func privateRun() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts private: %w", err)
	}
	dirs := []string{"/run"}
	if info, err := os.Lstat("/var/run"); err == nil && info.IsDir() {
		dirs = append(dirs, "/var/run")
	}
	for _, dir := range dirs {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	return nil
}

// loopbackUp takes lo up in the namespace of the calling thread.
func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("look for lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("take lo up: %w", err)
	}
	return nil
}
