package main

import (
	"context"
	"errors"
	"io"
)

// status shows what the agent on this device is doing.
func status(_ context.Context, _ []string, _, _ io.Writer) error { return errors.ErrUnsupported }
