package main

import (
	"context"
	"errors"
	"io"
)

// runService is what the service manager starts: "service run".
func runService(_ context.Context, _ []string, _ io.Writer) error { return errors.ErrUnsupported }
