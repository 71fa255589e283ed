// Package hint has the errors that tell the reader of a command line what to do next.
package hint

// A Usage is a command line that cannot be understood, and says why.
type Usage string

func (e Usage) Error() string { return string(e) }

// An Error is an error whose reader is told what to do next.
type Error struct {
	Err  error
	Hint string // what to do, as a sentence without capital and full stop
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }
