package selftest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// insideGrace is how long the test inside has to clean up after Ctrl-C.
const insideGrace = 15 * time.Second

// inOwnNetwork runs this program again in a network of its own and returns its report. The
// error is a *noNamespaceError where there is none to be had.
func inOwnNetwork(ctx context.Context, config Config) (*Report, error) {
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return nil, &noNamespaceError{"no TUN device can be opened", err, "load the module tun and let this user open /dev/net/tun to test that too"}
	}
	tun.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	args := []string{"selftest", "--link", "tun", "--json=" + strconv.FormatBool(config.Quiet)}
	if config.Report != "" {
		args = append(args, "--report", config.Report)
	}
	reason := "an ordinary user may make a network of their own here"
	if os.Geteuid() == 0 {
		reason = "root may make a network of its own here"
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, self, args...) //nolint:gosec // this program itself
	cmd.Env = append(os.Environ(), inside+"="+reason)
	cmd.Stdout, cmd.Stderr = &out, config.Stderr
	cmd.SysProcAttr = ownNetwork()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = insideGrace
	if err := runInside(cmd); ctx.Err() != nil {
		return nil, context.Cause(ctx)
	} else if refusedNamespace(err) {
		return nil, noNetwork(err)
	} else if err != nil {
		return nil, fmt.Errorf("run the self-test in a network of its own: %w", err)
	}
	r := new(Report)
	if err := json.Unmarshal(out.Bytes(), r); err != nil {
		return nil, fmt.Errorf("read the report from the network of its own: %w", err)
	}
	if len(r.Checks) == 0 {
		return nil, noNetwork(errors.New(r.Reason))
	}
	return r, nil
}

func noNetwork(err error) error {
	return &noNamespaceError{"this host makes no network of its own for this user", err, "run it as root, or allow user namespaces, to test the host's TUN and packet filter too"}
}

// ownNetwork asks for a network and mounts of one's own. An ordinary user becomes root
// inside, over nothing but that.
func ownNetwork() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	if os.Geteuid() != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return a
}

// runInside runs a program to its end. The kernel counts the thread that started it as its
// parent, so that one is kept.
func runInside(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The kernel lets nobody map the users of a process that keeps others out of its memory,
	// as this one does. There is no key in it yet.
	was, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err == nil && was != 1 {
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("let the users be mapped: %w", err)
		}
		defer unix.Prctl(unix.PR_SET_DUMPABLE, uintptr(was), 0, 0, 0) //nolint:errcheck // as harden did
	}
	return cmd.Run()
}

// refusedNamespace reports whether err says that namespaces are switched off, used up or
// not known here.
func refusedNamespace(err error) bool {
	if _, ran := errors.AsType[*exec.ExitError](err); ran {
		return false
	}
	for _, errno := range []syscall.Errno{
		syscall.EPERM, syscall.EACCES, syscall.ENOSPC, syscall.EUSERS, syscall.EINVAL, syscall.ENOSYS,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// furnish makes a network of its own habitable: a loopback that is up, and a /run and
// a home that are not the host's.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts private: %w", err)
	}
	dirs := []string{"/run"}
	// Shells begin at home, which for root inside is that of root outside.
	if u, err := user.Current(); err == nil && unix.Access(u.HomeDir, unix.R_OK|unix.X_OK) == unix.EACCES {
		dirs = append(dirs, u.HomeDir)
	}
	if info, err := os.Lstat("/var/run"); err == nil && info.IsDir() {
		dirs = append(dirs, "/var/run")
	}
	for _, dir := range dirs {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("look for lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("take lo up: %w", err)
	}
	return nil
}

// deleteLink takes a network interface away, as an administrator's slip would.
func deleteLink(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkDel(l)
}
