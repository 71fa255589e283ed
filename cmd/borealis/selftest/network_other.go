//go:build !linux

package selftest

import (
	"context"
	"errors"
)

// inOwnNetwork is for Linux only.
func inOwnNetwork(context.Context, Config) (*Report, error) {
	return nil, &noNamespaceError{"there is no network of its own", errors.ErrUnsupported, "an engine runs on Linux"}
}

func furnish() error { return errors.ErrUnsupported }

func deleteLink(string) error { return errors.ErrUnsupported }
