//go:build unix

package shell

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// linger is how long a dead program's terminal is read when something out of reach holds it open.
const linger = 50 * time.Millisecond

// errAsUser is for a policy that only Windows can carry out.
var errAsUser = fmt.Errorf("this device's policy runs shells as the signed-in user only, which the agent can do on Windows alone: %w", errors.ErrUnsupported)

// terminal is a program that leads a session of its own on a pseudo terminal.
type terminal struct {
	cmd    *exec.Cmd
	tty    *os.File // our end of the terminal, non-blocking
	killed chan struct{}
	kill   func() // closes killed, once
	over   atomic.Bool
}

// start runs a command on a new terminal.
func start(c command) (_ process, err error) {
	if c.asUser {
		return nil, errAsUser
	}
	if c.shell, err = choose(c); err != nil {
		return nil, err
	}
	if c.shell == "" {
		c.shell = loginShell()
	}
	name := filepath.Base(c.shell)
	cmd := &exec.Cmd{Path: c.shell, Args: []string{"-" + name}} // the dash asks for a login shell
	if c.line != "" {
		cmd.Args = []string{name, "-c", c.line}
	}
	cmd.Dir, cmd.Env = environment(c)
	tty, theirs, err := openTerminal(c.size)
	if err != nil {
		return nil, fmt.Errorf("make terminal: %w", err)
	}
	defer theirs.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // descriptor 0 is the terminal
	if err := cmd.Start(); err != nil {
		tty.Close()
		return nil, fmt.Errorf("start %s: %w", c.shell, err)
	}
	p := &terminal{cmd: cmd, tty: tty, killed: make(chan struct{})}
	p.kill = sync.OnceFunc(func() { close(p.killed) })
	return p, nil
}

// openTerminal makes a terminal, and returns our end of it and the program's.
func openTerminal(s size) (ours, theirs *os.File, err error) {
	blocking, theirs, err := pty.Open()
	if err != nil {
		return nil, nil, err
	}
	if ours, err = nonBlocking(blocking); err != nil {
		theirs.Close()
		return nil, nil, err
	}
	err = control(ours, func(fd int) error {
		eraseUTF8(fd)
		return setSize(fd, s)
	})
	if err != nil {
		ours.Close()
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// nonBlocking reopens a terminal so that Close and deadlines end a Read. It closes the one given.
func nonBlocking(f *os.File) (*os.File, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// Read reads output, and ends with io.EOF when the program has ended and all it wrote was read.
func (p *terminal) Read(b []byte) (int, error) {
	for late := 0; ; late++ {
		if p.over.Load() {
			if err := p.tty.SetReadDeadline(time.Now().Add(linger)); err != nil {
				return 0, err
			}
		}
		n, err := p.tty.Read(b)
		switch {
		case n > 0:
			return n, nil
		case errors.Is(err, os.ErrDeadlineExceeded) && late == 0:
			continue // Wait woke us; what is left can be read at once
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.EIO):
			return 0, io.EOF // EIO: the last of the other ends is closed
		default:
			return 0, err
		}
	}
}

// Write types into the terminal.
func (p *terminal) Write(b []byte) (int, error) { return p.tty.Write(b) }

// Resize changes the terminal's size; the program in the foreground gets SIGWINCH.
func (p *terminal) Resize(s size) error {
	return control(p.tty, func(fd int) error { return setSize(fd, s) })
}

// setSize sets the size of the terminal behind a descriptor.
func setSize(fd int, s size) error {
	return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: s.cols, Row: s.rows})
}

// Signal sends a signal to the foreground process group.
func (p *terminal) Signal(name string) error {
	signals := map[string]syscall.Signal{
		"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "QUIT": syscall.SIGQUIT,
		"TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
	}
	signal, ok := signals[name]
	if !ok {
		return errSignal
	}
	return control(p.tty, func(fd int) error {
		group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		if err != nil {
			return err
		}
		if group <= 1 { // nobody is in the foreground
			return errSignal
		}
		return syscall.Kill(-group, signal)
	})
}

// control calls do with a terminal's descriptor, unless it is closed.
func control(tty *os.File, do func(fd int) error) error {
	raw, err := tty.SyscallConn()
	if err != nil {
		return err
	}
	var done error
	if err := raw.Control(func(fd uintptr) { done = do(int(fd)) }); err != nil {
		return err
	}
	return done
}

// Kill has Wait end the program and everything it started.
func (p *terminal) Kill() { p.kill() }

// Wait waits for the program's end, ends what is left of its session, and reaps the program last:
// until then nobody else can get its process id, which is the session's too.
func (p *terminal) Wait() exit {
	ended := make(chan struct{})
	go func() {
		awaitExit(p.cmd)
		close(ended)
	}()
	select {
	case <-ended:
	case <-p.killed:
	}
	endTree(p.cmd.Process.Pid)
	<-ended
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Wait() // an exit status is no error here
	}
	p.over.Store(true)
	_ = p.tty.SetReadDeadline(time.Now()) // wakes Read; a closed terminal needs none

	how := exit{status: 255}
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		how = exit{signal: signalName(status.Signal()), core: status.CoreDump()}
	} else if code := p.cmd.ProcessState.ExitCode(); code >= 0 {
		how.status = uint32(code) //nolint:gosec // checked above
	}
	return how
}

// Close closes the terminal.
func (p *terminal) Close() error { return p.tty.Close() }
