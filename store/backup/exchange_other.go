//go:build !linux

package backup

import "errors"

func exchange(_, _ string) error { return errors.ErrUnsupported }
