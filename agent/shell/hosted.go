package shell

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	hostBegins = 15 * time.Second // longest wait for a host's answer
	hostEnds   = 3 * time.Second  // longest wait for a host that was told to end
	maxExcuse  = 1 << 10          // bytes of a host's answer
)

// hosted is a process whose terminal is not the agent's but a host's: this same program once more,
// as another user and in that user's session. Windows supports neither a console whose program
// belongs to somebody else nor a job over several sessions, so both are made there. See [Host].
type hosted struct {
	cmd     *exec.Cmd
	in, out *os.File      // to the host and from it
	resizes chan size     // the latest that the host was not told yet
	killed  chan struct{} // Kill was called
	kill    func()        // closes killed, once
	over    chan struct{} // Wait has returned
	telling sync.WaitGroup

	mu sync.Mutex // held while a message is written to in
}

// startHosted runs a command on a terminal of a host, which attr makes another user's process.
func startHosted(c command, attr *syscall.SysProcAttr) (_ process, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the agent's own program: %w", err)
	}
	theirIn, ourIn, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make shell host's input: %w", err)
	}
	defer theirIn.Close()
	ourOut, theirOut, err := os.Pipe()
	if err != nil {
		ourIn.Close()
		return nil, fmt.Errorf("make shell host's output: %w", err)
	}
	h := &hosted{
		in: ourIn, out: ourOut,
		resizes: make(chan size, 1), killed: make(chan struct{}), over: make(chan struct{}),
		cmd: &exec.Cmd{
			Path: self, Args: []string{self, HostCommand}, Dir: filepath.VolumeName(self) + string(filepath.Separator),
			Stdin: theirIn, Stdout: theirOut, SysProcAttr: attr,
		},
	}
	h.kill = sync.OnceFunc(func() { close(h.killed) })
	err = h.cmd.Start()
	theirOut.Close() // else our end of it would never end
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start shell host: %w", err), h.Close())
	}
	h.telling.Go(h.tellSizes)
	if err := h.begin(c); err != nil {
		h.Kill()
		h.Wait()
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// begin sends the command and waits for the answer: a line that is empty, or says why not.
func (h *hosted) begin(c command) error {
	order, err := json.Marshal(hostOrder{Shell: c.shell, Line: c.line, Env: c.env, Cols: c.size.cols, Rows: c.size.rows})
	if err != nil {
		return fmt.Errorf("tell shell host what to run: %w", err)
	}
	defer time.AfterFunc(hostBegins, func() { _ = h.cmd.Process.Kill() }).Stop() // one that has ended needs no end
	if err := h.tell(hostStarts, order); err != nil {
		return err
	}
	var answer []byte
	for b := make([]byte, 1); len(answer) < maxExcuse; answer = append(answer, b[0]) {
		if _, err := io.ReadFull(h.out, b); err != nil {
			return fmt.Errorf("hear from shell host: %w", err)
		}
		if b[0] == '\n' {
			break
		}
	}
	if len(answer) > 0 {
		return errors.New(string(answer))
	}
	return nil
}

// tell sends the host a message.
func (h *hosted) tell(kind byte, body []byte) error {
	message := append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body))), body...) //nolint:gosec // messages are small
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, err := h.in.Write(message); err != nil {
		return fmt.Errorf("tell shell host: %w", err)
	}
	return nil
}

// tellSizes sends sizes until the host has ended. Resize does not wait for it: the host may be busy with input.
func (h *hosted) tellSizes() {
	for {
		select {
		case <-h.over:
			return
		case s := <-h.resizes:
			body := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, s.cols), s.rows)
			if h.tell(hostResizes, body) != nil {
				return // it is ending
			}
		}
	}
}

// Read reads output.
func (h *hosted) Read(b []byte) (int, error) { return h.out.Read(b) }

// Write types into the terminal.
func (h *hosted) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		part := b[:min(len(b), packet)]
		if err := h.tell(hostTypes, part); err != nil {
			return n, err
		}
		n += len(part)
		b = b[len(part):]
	}
	return n, nil
}

// Resize changes the terminal's size, soon.
func (h *hosted) Resize(s size) error {
	for {
		select {
		case <-h.over:
			return os.ErrClosed
		default:
		}
		select {
		case h.resizes <- s:
			return nil
		case <-h.resizes: // too late for that one
		}
	}
}

// Signal interrupts what is in the foreground, or ends everything.
func (h *hosted) Signal(name string) error { return signalByKey(h, name) }

// Kill ends the host, the program and everything that it started.
func (h *hosted) Kill() { h.kill() }

// Wait waits for the host, which ends after the program and all that it started. One that is killed and
// does not end by itself is ended, and its job dies with it.
func (h *hosted) Wait() exit {
	ended := make(chan struct{})
	go func() {
		_ = h.cmd.Wait() // its state says how it ended
		close(ended)
	}()
	select {
	case <-ended:
	case <-h.killed:
		go h.in.Close() // the host's word to end; it waits for a write under way
		select {
		case <-ended:
		case <-time.After(hostEnds):
			_ = h.cmd.Process.Kill() // or it has ended just now
			<-ended
		}
	}
	close(h.over)
	how := exit{status: 255}
	if code := h.cmd.ProcessState.ExitCode(); code >= 0 {
		how.status = uint32(code) //nolint:gosec // it was one
	}
	return how
}

// Close gives back what Wait left open.
func (h *hosted) Close() error {
	h.kill()
	err := h.in.Close()
	if errors.Is(err, os.ErrClosed) { // by Wait
		err = nil
	}
	h.telling.Wait()
	return errors.Join(err, h.out.Close())
}

// signalByKey is Signal for terminals that know one key and an end, but no signals.
func signalByKey(p process, name string) error {
	switch name {
	case "INT":
		_, err := p.Write([]byte{3}) // the terminal makes it Ctrl-C
		return err
	case "HUP", "KILL", "TERM":
		p.Kill()
		return nil
	}
	return errSignal
}
