//go:build winetest

package shell

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Wine's pseudo consoles lack two things: the program on one gets no standard handles, and
// ResizePseudoConsole is not implemented. So in builds for tests under Wine, and in no others, a
// program is started by this same one, as "conshim PORT PROGRAM ARGUMENTS": it opens the console
// by name, hands it on, and sets sizes that come as lines over the loopback.
const conshim = "conshim"

func init() {
	if len(os.Args) > 3 && os.Args[1] == conshim {
		os.Exit(shimmed(os.Args[2]))
	}
	launch = shimLaunch
	resizeConsole = shimResize
}

// shims has the connection to the shim of each console, and the size it waits for when there is none yet.
var shims = struct {
	sync.Mutex
	of map[*pseudoConsole]*shim
}{of: make(map[*pseudoConsole]*shim)}

type shim struct {
	conn net.Conn
	size size
}

// shimLaunch starts a shim instead of the program.
func shimLaunch(p *pseudoConsole, program, line, dir string, env []uint16) (windows.Handle, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	if _, err := os.Stat(program); err != nil { // what CreateProcess would have said
		return 0, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	handle, err := p.create(self, windows.EscapeArg(self)+" "+conshim+" "+port+" "+line, dir, env)
	if err != nil {
		l.Close()
		return 0, err
	}
	shims.Lock()
	shims.of[p] = &shim{}
	shims.Unlock()
	go attendShim(p, l)
	return handle, nil
}

// attendShim waits for a shim's call, and for its end.
func attendShim(p *pseudoConsole, l net.Listener) {
	defer func() {
		shims.Lock()
		delete(shims.of, p)
		shims.Unlock()
	}()
	_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(30 * time.Second))
	conn, err := l.Accept()
	l.Close()
	if err != nil {
		return
	}
	defer conn.Close()
	shims.Lock()
	shims.of[p].conn = conn
	if s := shims.of[p].size; s != (size{}) {
		fmt.Fprintln(conn, s.cols, s.rows)
	}
	shims.Unlock()
	_, _ = conn.Read(make([]byte, 1)) // it says nothing, but ends
}

// shimResize tells a console's shim its size.
func shimResize(p *pseudoConsole, s size) error {
	shims.Lock()
	defer shims.Unlock()
	one := shims.of[p]
	if one == nil {
		return errors.New("the shim is gone")
	}
	if one.size = s; one.conn == nil {
		return nil
	}
	_, err := fmt.Fprintln(one.conn, s.cols, s.rows)
	return err
}

// shimmed is a shim's main.
func shimmed(port string) (status int) {
	signal.Ignore(os.Interrupt) // it is for the program
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return 97
	}
	in, noIn := openConsole("CONIN$")
	out, noOut := openConsole("CONOUT$")
	if noIn != nil || noOut != nil {
		return 97
	}
	go func() {
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			var cols, rows int16
			if _, err := fmt.Sscan(lines.Text(), &cols, &rows); err == nil {
				setConsoleSize(out, cols, rows)
			}
		}
	}()
	_, rest, _ := strings.Cut(windows.UTF16PtrToString(windows.GetCommandLine()), " "+conshim+" "+port+" ")
	program := exec.Command(os.Args[3])
	program.SysProcAttr = &syscall.SysProcAttr{CmdLine: rest}
	program.Stdin, program.Stdout, program.Stderr = in, out, out
	err = program.Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return ended.ExitCode()
	}
	if err != nil {
		return 98
	}
	return 0
}

func openConsole(name string) (*os.File, error) {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(path, windows.GENERIC_READ|windows.GENERIC_WRITE, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, nil, windows.OPEN_EXISTING, 0, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(h), name), nil
}

// setConsoleSize sets a console's buffer and its window: the window is made small first, since it must
// never be larger than the buffer.
func setConsoleSize(out *os.File, cols, rows int16) {
	kernel := windows.NewLazySystemDLL("kernel32.dll")
	window, buffer := kernel.NewProc("SetConsoleWindowInfo"), kernel.NewProc("SetConsoleScreenBufferSize")
	small, whole := windows.SmallRect{}, windows.SmallRect{Right: cols - 1, Bottom: rows - 1}
	_, _, _ = window.Call(out.Fd(), 1, uintptr(unsafe.Pointer(&small)))
	_, _, _ = buffer.Call(out.Fd(), uintptr(uint32(uint16(cols))|uint32(uint16(rows))<<16))
	_, _, _ = window.Call(out.Fd(), 1, uintptr(unsafe.Pointer(&whole)))
}
