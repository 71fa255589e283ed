package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
	"borealis/store"
)

// These commands change the database itself, each in one transaction with its audit
// record, whether or not an engine runs on it: a running one sees the change and ends
// within a second what it forbids.

// deviceNamed finds the device that a command is about, by its id.
func deviceNamed(ctx context.Context, s *store.Store, id string) (store.Device, error) {
	d, err := s.Device(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return store.Device{}, &hint.Error{Err: fmt.Errorf("there is no device with the id %q", id), Hint: "\"borealis device list\" shows all"}
	}
	return d, err
}

// explained adds what to do to the refusals of the store that people meet here.
func explained(err error) error {
	switch {
	case errors.Is(err, store.ErrLastAdmin):
		return &hint.Error{Err: err, Hint: "add or unlock another administrator first"}
	case errors.Is(err, store.ErrReplaces):
		return &hint.Error{Err: err, Hint: "say --replace to revoke the device that was known before, or --keep-both"}
	}
	return err
}

// lockFlags are what a lock is made of on the command line.
type lockFlags struct {
	reason string
	life   ttlFlag
}

// lock makes the lock of a target.
func (l lockFlags) lock(kind, target, name string) store.Lock {
	made := store.Lock{Kind: kind, Target: target, Name: name, Reason: l.reason, By: "console", At: time.Now()}
	if l.life.Duration > 0 {
		made.Until = made.At.Add(l.life.Duration)
	}
	return made
}

// setLock locks, and tells what that means.
func (c *console) setLock(ctx context.Context, s *store.Store, l store.Lock) error {
	if strings.TrimSpace(l.Reason) == "" {
		return hint.Usage("--reason is missing: whoever is locked out sees why")
	}
	err := s.AddLock(ctx, l, engine.LocalRecord())
	if errors.Is(err, store.ErrConflict) {
		return &hint.Error{Err: fmt.Errorf("the %s %s is locked already", l.Kind, l.Name), Hint: "unlock it first to change the lock"}
	}
	if errors.Is(err, store.ErrNotFound) && l.Kind == store.LockSite {
		return &hint.Error{Err: fmt.Errorf("there is no device of the site %q", l.Name), Hint: "\"borealis device list\" shows the sites"}
	}
	if err != nil {
		return explained(err)
	}
	_, err = fmt.Fprintf(c.stderr, "Locked %s %s. What it had open ends within a second.\n", l.Kind, l.Name)
	return err
}

// liftLock unlocks.
func (c *console) liftLock(ctx context.Context, s *store.Store, kind, target, name string) error {
	err := s.DeleteLock(ctx, kind, target, engine.LocalRecord())
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("the %s %s is not locked", kind, name)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stderr, "Unlocked %s %s.\n", kind, name)
	return err
}
