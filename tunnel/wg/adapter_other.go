//go:build !windows

package wg

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// Adapter is for Windows only: there is none elsewhere.
type Adapter struct{}

// OpenAdapter is for Windows only: elsewhere it returns [errors.ErrUnsupported].
func OpenAdapter(context.Context, AdapterConfig) (*Adapter, error) {
	return nil, fmt.Errorf("open the WireGuardNT adapter on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

// Name returns "".
func (a *Adapter) Name() string { return "" }

// Version returns "".
func (a *Adapter) Version() string { return "" }

// Close does nothing.
func (a *Adapter) Close() error { return nil }

// openNT is for Windows only.
func openNT(context.Context, Config) (*device, error) {
	return nil, fmt.Errorf("mode wireguard-nt on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
