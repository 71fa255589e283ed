package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Outcomes of a step that changed nothing.
const (
	present = "already present"
	idle    = "nothing to do"
	fit     = "nothing speaks against it"
)

// changed reports whether a step changed anything.
func (s Step) changed() bool {
	return !slices.Contains([]string{present, idle, fit}, s.Outcome)
}

// undoLimit bounds undoing one step.
const undoLimit = 2 * time.Minute

// A step is one thing that an installation does.
type step struct {
	name string
	// do says what it did, and how that is undone. It may return undo with an error, and
	// then what it did until then is undone in this way. A nil undo has nothing to undo.
	do func(ctx context.Context) (outcome string, undo func(context.Context) error, err error)
}

// A failure says which step of an installation failed.
type failure struct {
	step   string
	err    error
	undone error // nil when all was undone.
}

func (f *failure) Error() string {
	after := "The machine is as it was before"
	if f.undone != nil {
		after = fmt.Sprintf("Not all could be undone: %v", f.undone)
	}
	return fmt.Sprintf("%s: %v. %s", f.step, f.err, after)
}

func (f *failure) Unwrap() error { return f.err }

// perform does the steps in order. When one fails, or ctx ends, fail is told and what was
// done is undone in reverse, whether ctx has ended or not; the error is a [failure].
func perform(ctx context.Context, log *journal, steps []step, fail func(name string, err error)) ([]Step, error) {
	var done []Step
	var undo []func()
	var undone []error
	for _, s := range steps {
		outcome, back, err := "", (func(context.Context) error)(nil), context.Cause(ctx)
		if err == nil {
			outcome, back, err = s.do(ctx)
		}
		if back != nil {
			undo = append(undo, func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
				defer cancel()
				if err := back(ctx); err != nil {
					log.say(s.name, "it could not be undone: "+err.Error())
					undone = append(undone, fmt.Errorf("%s: %w", s.name, err))
					return
				}
				log.say(s.name, "undone")
			})
		}
		if err != nil {
			log.say(s.name, "failed: "+err.Error())
			fail(s.name, err)
			for _, u := range slices.Backward(undo) {
				u()
			}
			return nil, &failure{step: s.name, err: err, undone: errors.Join(undone...)}
		}
		log.say(s.name, outcome)
		done = append(done, Step{Name: s.name, Outcome: outcome})
	}
	return done, nil
}
