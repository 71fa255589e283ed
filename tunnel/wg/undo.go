package wg

import (
	"errors"
	"slices"
)

// undo collects the steps that take back what was done, and runs them last first.
type undo struct {
	steps []func() error
}

// add remembers the step that takes back what was just done.
func (u *undo) add(step func() error) { u.steps = append(u.steps, step) }

// run takes everything back, whatever fails on the way, and forgets it.
func (u *undo) run() error {
	var errs []error
	for _, step := range slices.Backward(u.steps) {
		errs = append(errs, step())
	}
	u.steps = nil
	return errors.Join(errs...)
}
