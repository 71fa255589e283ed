//go:build !linux

package netfilter

import (
	"context"
	"errors"
)

// Backend returns [errors.ErrUnsupported]: there is no netfilter here.
func Backend(context.Context) (string, error) { return "", errors.ErrUnsupported }
