//go:build !windows

package service

import (
	"context"
	"errors"
	"fmt"
)

// errElsewhere is what every function of this package returns here.
var errElsewhere = fmt.Errorf("services are for Windows; on Linux use systemd: %w", errors.ErrUnsupported)

func elevated() error                              { return errElsewhere }
func install(Config) (bool, error)                 { return false, errElsewhere }
func remove(context.Context, string) error         { return errElsewhere }
func restore(context.Context, string, State) error { return errElsewhere }
func start(context.Context, string) error          { return errElsewhere }
func stop(context.Context, string) error           { return errElsewhere }
func query(string) (State, error)                  { return State{}, errElsewhere }
func installSource(string) error                   { return errElsewhere }
func removeSource(string) error                    { return errElsewhere }
func sourceInstalled(string) (bool, error)         { return false, errElsewhere }
func openLog(string) (reporter, error)             { return nil, errElsewhere }

func run(string, func(context.Context, <-chan Event) error) error { return errElsewhere }
