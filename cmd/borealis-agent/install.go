package main

import (
	"context"
	"errors"
	"io"
)

// install puts the agent on this device as a service, and enrols it.
func install(_ context.Context, _ []string, _, _ io.Writer) error { return errors.ErrUnsupported }

// uninstall takes the agent off this device.
func uninstall(_ context.Context, _ []string, _, _ io.Writer) error { return errors.ErrUnsupported }
