package shell

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// jobList is PROC_THREAD_ATTRIBUTE_JOB_LIST: the process begins in the job, so that nothing it starts
// can be outside.
const jobList = 0x0002000D

// What Wine cannot do is done otherwise in tests under Wine.
var (
	launch        = (*pseudoConsole).create
	resizeConsole = func(p *pseudoConsole, s size) error { return windows.ResizePseudoConsole(p.console, coord(s)) }
)

// pseudoConsole is a program on a pseudo console, in a job with all that it starts.
type pseudoConsole struct {
	in, out *os.File       // our ends of the console's pipes
	handle  windows.Handle // of the program
	job     windows.Handle

	mu      sync.Mutex
	console windows.Handle // 0 once it is closed
	ended   bool           // Wait has the job, Kill must not touch it any more
}

// start runs a command on a new console, or has a host of the signed-in user do so.
func start(c command) (process, error) {
	err := TooOld()
	if err != nil {
		return nil, err
	}
	if c.shell, err = choose(c); err != nil {
		return nil, err
	}
	if !c.asUser {
		return startConsole(c)
	}
	token, err := signedIn()
	if err != nil {
		return nil, err
	}
	defer func() { _ = token.Close() }() // the host has its own
	return startHosted(c, &syscall.SysProcAttr{Token: syscall.Token(token), CreationFlags: windows.CREATE_NO_WINDOW})
}

// startConsole runs a command on a new console as this process's own user.
func startConsole(c command) (_ process, err error) {
	var theirIn, ourIn, ourOut, theirOut windows.Handle
	if err := windows.CreatePipe(&theirIn, &ourIn, nil, 0); err != nil {
		return nil, fmt.Errorf("make console input: %w", err)
	}
	// The console duplicates its ends. They are closed when the program runs: closed any earlier, some
	// versions of Windows take the console for abandoned.
	defer windows.CloseHandle(theirIn)
	if err := windows.CreatePipe(&ourOut, &theirOut, nil, packet); err != nil {
		windows.CloseHandle(ourIn)
		return nil, fmt.Errorf("make console output: %w", err)
	}
	defer windows.CloseHandle(theirOut)

	p := &pseudoConsole{in: os.NewFile(uintptr(ourIn), "console input"), out: os.NewFile(uintptr(ourOut), "console output")}
	defer func() {
		if err != nil {
			_ = p.Close() // nothing runs yet
		}
	}()
	if err := windows.CreatePseudoConsole(coord(c.size), theirIn, theirOut, 0, &p.console); err != nil {
		return nil, fmt.Errorf("make pseudo console: %w", err)
	}
	if p.job, err = newJob(); err != nil {
		return nil, fmt.Errorf("make job: %w", err)
	}
	if p.handle, err = launch(p, c.shell, commandLine(c), startDir(c), block(environment(c))); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.shell, err)
	}
	return p, nil
}

// create starts the program on the console and in the job.
func (p *pseudoConsole) create(program, line, dir string, env []uint16) (windows.Handle, error) {
	attributes, err := windows.NewProcThreadAttributeList(2)
	if err != nil {
		return 0, err
	}
	defer attributes.Delete()
	// The console goes in by value: the attribute is the handle, not a pointer to one.
	console := *(*unsafe.Pointer)(unsafe.Pointer(&p.console))
	if err := attributes.Update(windows.PROC_THREAD_ATTRIBUTE_PSEUDOCONSOLE, console, unsafe.Sizeof(p.console)); err != nil {
		return 0, err
	}
	if err := attributes.Update(jobList, unsafe.Pointer(&p.job), unsafe.Sizeof(p.job)); err != nil {
		return 0, err
	}
	name, err := windows.UTF16PtrFromString(program)
	if err != nil {
		return 0, err
	}
	arguments, err := windows.UTF16PtrFromString(line)
	if err != nil {
		return 0, err
	}
	folder, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var info windows.StartupInfoEx
	info.Cb = uint32(unsafe.Sizeof(info))
	// Null standard handles: else a redirected agent's own would reach the shell instead of the console.
	info.Flags = windows.STARTF_USESTDHANDLES
	info.ProcThreadAttributeList = attributes.List()
	var made windows.ProcessInformation
	const flags = windows.EXTENDED_STARTUPINFO_PRESENT | windows.CREATE_UNICODE_ENVIRONMENT
	if err := windows.CreateProcess(name, arguments, nil, nil, false, flags, &env[0], folder, &info.StartupInfo, &made); err != nil {
		return 0, err
	}
	windows.CloseHandle(made.Thread)
	return made.Process, nil
}

// newJob makes a job whose processes die with the last handle to it, and so with the agent.
func newJob() (windows.Handle, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, err
	}
	var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	if err != nil {
		windows.CloseHandle(job)
		return 0, err
	}
	return job, nil
}

// Read reads output, and ends with io.EOF when Wait has closed the console and all was read.
func (p *pseudoConsole) Read(b []byte) (int, error) { return p.out.Read(b) }

// Write types into the console.
func (p *pseudoConsole) Write(b []byte) (int, error) { return p.in.Write(b) }

// Resize changes the console's size.
func (p *pseudoConsole) Resize(s size) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.console == 0 {
		return os.ErrClosed
	}
	return resizeConsole(p, s)
}

// Signal interrupts what is in the foreground, or ends everything: Windows knows no more.
func (p *pseudoConsole) Signal(name string) error { return signalByKey(p, name) }

// Kill ends the program and everything it started.
func (p *pseudoConsole) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		_ = windows.TerminateJobObject(p.job, 1) // fails only when nothing is left to end
	}
}

// Wait waits for the program's end, ends what it left behind, and closes the console, which before
// Windows 11 24H2 blocks until its output has been read.
func (p *pseudoConsole) Wait() exit {
	how := exit{status: 255}
	if _, err := windows.WaitForSingleObject(p.handle, windows.INFINITE); err == nil {
		_ = windows.GetExitCodeProcess(p.handle, &how.status) // stays 255 then
	}
	p.Kill()
	p.mu.Lock()
	p.ended = true
	console := p.console
	p.console = 0
	p.mu.Unlock()
	windows.ClosePseudoConsole(console)
	return how
}

// Close gives back what is still open. Its pipes go first: a console that nobody waited for would
// otherwise wait for somebody to read what it has drawn.
func (p *pseudoConsole) Close() error {
	errs := []error{p.in.Close(), p.out.Close()}
	p.mu.Lock()
	p.ended = true
	console := p.console
	p.console = 0
	p.mu.Unlock()
	if console != 0 {
		windows.ClosePseudoConsole(console)
	}
	for _, h := range []windows.Handle{p.job, p.handle} {
		if h != 0 {
			errs = append(errs, windows.CloseHandle(h))
		}
	}
	return errors.Join(errs...)
}

// coord is a size as Windows has it.
func coord(s size) windows.Coord {
	return windows.Coord{X: int16(s.cols), Y: int16(s.rows)} //nolint:gosec // at most maxCells
}
