//go:build !unix && !windows

package shell

import "errors"

// process cannot be on this platform. See process.go.
type process struct{}

func start(command) (*process, error) { return nil, errors.ErrUnsupported }

func (*process) Read([]byte) (int, error)  { return 0, errors.ErrUnsupported }
func (*process) Write([]byte) (int, error) { return 0, errors.ErrUnsupported }
func (*process) Resize(size) error         { return errors.ErrUnsupported }
func (*process) Signal(string) error       { return errSignal }
func (*process) Kill()                     {}
func (*process) Wait() exit                { return exit{} }
func (*process) Close() error              { return nil }

func heedInterrupts() (undo func()) { return func() {} }
