package main

import (
	"context"
	"errors"
	"io"
)

// doctor examines the agent on this device.
func doctor(_ context.Context, _ []string, _, _ io.Writer) error { return errors.ErrUnsupported }
