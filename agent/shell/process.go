package shell

import (
	"errors"
	"strconv"
)

// A process is a program on a pseudo terminal, with everything that the program starts. Each
// platform has its own; the methods are the same:
//
//	start(c command) (*process, error)
//	Read, Write          the terminal's output and input; Read ends with io.EOF after the last byte
//	Resize(size) error
//	Signal(name) error   an SSH signal name; errSignal when the platform has nothing like it
//	Kill()               has Wait end the program; never blocks; any number of times
//	Wait() exit          waits for the program to end, then ends what it left behind; once. On Windows
//	                     it may wait for Read to be called until io.EOF
//	Close() error        gives back the terminal; after Wait and after the last Read
//
// Read, Write, Resize, Signal, Kill and Wait may be called at the same time.

// errSignal is the answer to a signal that cannot be sent here.
var errSignal = errors.New("no such signal here")

// command is what a process shall run.
type command struct {
	shell string   // absolute path, "" for the platform's own
	line  string   // one command line for the shell; "" is an interactive shell
	env   []string // KEY=value, added to the platform's environment; later ones win
	size  size
}

// exit is how a program ended: a status, or the signal that killed it.
type exit struct {
	status uint32
	signal string // without SIG, as SSH names it; "" when the program ended by itself
	core   bool   // it left a core dump
}

// size of a terminal in characters.
type size struct{ cols, rows uint16 }

// maxCells bounds a terminal's width and height: more is a mistake that costs memory.
const maxCells = 1000

// sizeOf clamps what a client asks for to something that programs can live with.
func sizeOf(cols, rows uint32) size {
	if cols == 0 || rows == 0 {
		return size{cols: 80, rows: 24}
	}
	return size{cols: uint16(min(cols, maxCells)), rows: uint16(min(rows, maxCells))}
}

// String says how a program ended, for the log.
func (e exit) String() string {
	if e.signal != "" {
		return "signal " + e.signal
	}
	return "status " + strconv.FormatUint(uint64(e.status), 10)
}
