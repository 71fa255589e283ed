package shell

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// HostCommand is the argument that makes the agent's program a host; it must then call [Host].
const HostCommand = "shell-host"

// Messages to a host: a byte that says which, four that say how long it is, and the message.
const (
	hostStarts  = 's' // a hostOrder, once and first
	hostTypes   = 't' // input
	hostResizes = 'r' // columns and rows, two bytes each
)

// maxHostMessage bounds a message to a host: an order with its variables is the longest.
const maxHostMessage = (maxVariables + 16) * maxVariable

// hostOrder is what a host shall run.
type hostOrder struct {
	Shell, Line string
	Env         []string
	Cols, Rows  uint16
}

// Host runs one shell for an agent that may not run it itself, because it is another user's: messages
// come from in, whose end ends the shell with all that it started; out gets one line, empty or why there
// is no shell, and then the terminal's output. It returns the shell's exit status. The goroutine
// that reads in is left behind: the process is to end now.
func Host(in io.Reader, out io.Writer) (status int) {
	c, err := hostedCommand(in)
	if err != nil {
		fmt.Fprintln(out, err) // nobody to tell when that fails
		return 2
	}
	defer heedInterrupts()()
	p, err := start(c)
	if err != nil {
		fmt.Fprintln(out, strings.Join(strings.Fields(err.Error()), " "))
		return 127
	}
	go func() {
		obey(p, in)
		p.Kill()
	}()
	var output sync.WaitGroup
	output.Go(func() {
		if _, err := fmt.Fprintln(out); err == nil {
			_, _ = io.CopyBuffer(out, onlyRead{p}, make([]byte, packet))
		}
		p.Kill() // the agent is gone, or the program has ended
		_, _ = io.Copy(io.Discard, p)
	})
	how := p.Wait()
	output.Wait()
	_ = p.Close() // the process ends anyway
	return int(how.status)
}

// onlyRead hides what else a process could do from io.Copy.
type onlyRead struct{ io.Reader }

// hostedCommand reads the first message.
func hostedCommand(in io.Reader) (command, error) {
	kind, body, err := readHostMessage(in)
	var o hostOrder
	if err == nil && kind == hostStarts {
		err = json.Unmarshal(body, &o)
	}
	if err != nil || kind != hostStarts {
		return command{}, errors.New("this command is the agent's own: it is no use to people")
	}
	return command{shell: o.Shell, line: o.Line, env: o.Env, size: sizeOf(uint32(o.Cols), uint32(o.Rows)), home: true}, nil
}

// obey does what messages say until there are no more.
func obey(p process, in io.Reader) {
	for {
		kind, body, err := readHostMessage(in)
		if err != nil {
			return
		}
		switch {
		case kind == hostTypes:
			_, err = p.Write(body)
		case kind == hostResizes && len(body) == 4:
			_ = p.Resize(sizeOf(uint32(binary.BigEndian.Uint16(body)), uint32(binary.BigEndian.Uint16(body[2:])))) // it has ended, or keeps its size
		}
		if err != nil {
			return
		}
	}
}

// readHostMessage reads one message.
func readHostMessage(in io.Reader) (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxHostMessage {
		return 0, nil, errors.New("message too long")
	}
	body = make([]byte, n)
	_, err = io.ReadFull(in, body)
	return head[0], body, err
}
