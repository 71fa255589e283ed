package setup

import (
	"errors"
	"fmt"
	"io/fs"
)

// explain adds to an error of the file system what a person can do about it.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case full(err):
		return fmt.Errorf("the disk is full (%w): free some space and try again", err)
	case readOnly(err):
		return fmt.Errorf("the disk is read-only (%w): make it writable and try again", err)
	case inUse(err):
		return fmt.Errorf("another program holds it open (%w): end that one, it may be \"borealis-agent run\" in another window, and try again", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("it may not be written (%w): look who may write there and whether it is read-only, and try again", err)
	}
	return err
}
