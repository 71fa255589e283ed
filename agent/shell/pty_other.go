//go:build !unix && !windows

package shell

import "errors"

// start cannot be on this platform.
func start(command) (process, error) { return nil, errors.ErrUnsupported }

func heedInterrupts() (undo func()) { return func() {} }
