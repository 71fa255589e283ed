package shell

import (
	"errors"
	"io"
	"strconv"
)

// A process is a program on a pseudo terminal, with everything that the program starts. start(command)
// makes one of the platform's own; see [hosted] for the other kind. Read, Write, Resize, Signal, Kill
// and Wait may be called at the same time.
type process interface {
	io.Reader                 // the terminal's output, which ends with io.EOF after the last byte
	io.Writer                 // the terminal's input
	Resize(size) error        // changes the terminal's size
	Signal(name string) error // an SSH signal name; errSignal when the platform has nothing like it
	Kill()                    // has Wait end the program; never blocks; any number of times
	Wait() exit               // waits for the program to end, then ends what it left behind; once. On Windows it may wait for Read to be called until io.EOF
	Close() error             // gives back the terminal; after Wait and after the last Read
}

// errSignal is the answer to a signal that cannot be sent here.
var errSignal = errors.New("no such signal here")

// command is what a process shall run.
type command struct {
	shell  string   // absolute path, "" for the platform's own
	choice string   // another shell, by its wire.Shell name; "" is none
	line   string   // one command line for the shell; "" is an interactive shell
	env    []string // KEY=value, added to the platform's environment; later ones win
	size   size
	asUser bool // as the user who is signed in on the device
	home   bool // begin in the user's own folder also where the agent's shells begin elsewhere
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
