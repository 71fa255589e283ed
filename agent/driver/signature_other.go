//go:build !windows

package driver

import (
	"errors"
	"fmt"
)

// signed is for Windows only.
func signed(string) error {
	return fmt.Errorf("check the signature: %w: only Windows can", errors.ErrUnsupported)
}
