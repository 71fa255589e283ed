//go:build !linux

package wg

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// openKernel is for Linux only.
func openKernel(Config) (*device, error) {
	return nil, fmt.Errorf("mode kernel on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

// openTUN is for Linux only.
func openTUN(context.Context, Config) (*device, error) {
	return nil, fmt.Errorf("mode tun on %s: %w: %w", runtime.GOOS, errNoTUN, errors.ErrUnsupported)
}
