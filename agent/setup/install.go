package setup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"borealis/agent/service"
)

// spare is what has to be free beside the program itself, in bytes.
const spare = 32 << 20

// Install puts the agent on this device as a service, enrols it and starts it; no tunnel is
// started. A second run repairs what is not as it should be, and stops the service for it
// only when it has to. When a step fails those before it are undone, the failure goes to
// the event log, and the error says what happened and what to do. Elsewhere than on Windows
// the error wraps [errors.ErrUnsupported].
func Install(ctx context.Context, c Config) (Report, error) {
	c.names = c.names.orOwn()
	i := &installer{Config: c, stamp: time.Now().UTC().Format("20060102T150405.000000000Z")}
	i.journal = &journal{what: "install", also: c.Log, path: c.log()}
	i.report = Report{Address: c.Address, Service: c.names.service, Program: c.Program, Data: c.Data, Log: c.log()}
	i.journal.openIfThere()
	defer i.journal.close()
	done, err := perform(ctx, i.journal, []step{
		{"preflight", i.preflight},
		{"folders", i.folders},
		{"stop", i.stop},
		{"update", i.update},
		{"program", i.program},
		{"event source", i.source},
		{"service", i.service},
		{"list of programs", i.list},
		{"enrolment", i.enrol},
		{"start", i.start},
		{"tidy", i.tidy},
	}, i.failed)
	if err != nil {
		if i.report.Device != nil {
			err = fmt.Errorf("%w. The code is used up: make another one in the console, and remove the device that it enrolled there", err)
		}
		return Report{}, fmt.Errorf("install: %w", err)
	}
	i.report.Steps = done
	i.report.Present = !slices.ContainsFunc(done, Step.changed)
	return i.report, nil
}

// installer is one installation.
type installer struct {
	Config

	journal *journal
	stamp   string // Makes names unique.
	report  Report

	differs    bool          // The program is not there, or another one.
	unknown    bool          // The device has to be enrolled.
	running    bool          // The service ran before.
	superseded string        // Where the state of an update is that was given up, or "".
	aside      string        // Where the program that was there is, or "".
	before     service.State // Of the service, before it was changed.
	changed    bool          // The service was.
}

// failed writes a failure to the event log, if there is one: the source is usually not
// registered then, and the log shows the text all the same.
func (i *installer) failed(step string, err error) {
	l, cannot := service.NewLog(i.names.display)
	if cannot != nil {
		i.journal.say("event log", cannot.Error())
		return
	}
	slog.New(l).Error("install_failed", "step", step, "err", err)
	_ = l.Close() // Nobody is left to tell.
}

// preflight looks whether all can be done, and changes nothing.
func (i *installer) preflight(context.Context) (string, func(context.Context) error, error) {
	if err := service.Elevated(); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			err = errElsewhere
		}
		return "", nil, err
	}
	is, err := service.Query(i.names.service)
	if err != nil {
		return "", nil, err
	}
	if is.Installed && !is.Starts(i.Program) {
		return "", nil, fmt.Errorf("%w: the service %s starts %s. Remove that service, or find out who made it, and try again",
			service.ErrTaken, i.names.service, is.Command)
	}
	i.running = is.PID != 0
	if err := i.engine(); err != nil {
		return "", nil, err
	}
	equal, err := same(i.Source, i.Program)
	if err != nil {
		return "", nil, explain(fmt.Errorf("compare the program with the installed one: %w", err))
	}
	i.differs = !equal
	if err := i.space(); err != nil {
		return "", nil, err
	}
	return fit, nil, nil
}

// engine decides whether the device has to be enrolled.
func (i *installer) engine() error {
	address, pin, err := i.Enrolled()
	switch {
	case i.Pin == "" && err == nil && pin == "":
		return ErrNoCode
	case i.Pin == "":
		i.report.Address = address
		return err
	case i.Replace:
		i.unknown = true
	case err != nil:
		return fmt.Errorf("%w. If its identity is lost, install again with --replace: the device is enrolled as a new one", err)
	case pin != "" && pin != i.Pin:
		return fmt.Errorf("%w, the one at %s with the pin %s; the code is from the one at %s with the pin %s. "+
			"To take the device away from the first, install again with --replace", ErrOtherEngine, address, pin, i.Address, i.Pin)
	default:
		i.unknown = pin == "" || address != i.Address
	}
	return nil
}

// space looks whether the disks have room.
func (i *installer) space() error {
	need := map[string]uint64{nearest(i.Data): spare}
	if i.differs {
		info, err := os.Stat(i.Source)
		if err != nil {
			return err
		}
		need[nearest(i.Program)] += uint64(max(info.Size(), 0)) + spare
	}
	for dir, bytes := range need {
		free, err := freeSpace(dir)
		if err != nil {
			return err
		}
		if free < bytes {
			return fmt.Errorf("the disk of %s has %d MB free, and %d MB are needed: free some space and try again", dir, free>>20, bytes>>20)
		}
	}
	return nil
}

// stop stops the service when the program or the identity is going to change below it.
func (i *installer) stop(ctx context.Context) (string, func(context.Context) error, error) {
	if !i.running || !i.differs && !i.unknown {
		return idle, nil, nil
	}
	undo := func(ctx context.Context) error { return service.Start(ctx, i.names.service) }
	if err := service.Stop(ctx, i.names.service); err != nil {
		return "", undo, err
	}
	return "the service is stopped", undo, nil
}

// source registers the agent with the event log.
func (i *installer) source(context.Context) (string, func(context.Context) error, error) {
	there, err := service.SourceInstalled(i.names.display)
	if err != nil {
		return "", nil, err
	}
	if there {
		return present, nil, nil
	}
	undo := func(context.Context) error { return service.RemoveSource(i.names.display) }
	if err := service.InstallSource(i.names.display); err != nil {
		return "", undo, err
	}
	return fmt.Sprintf("%q writes to the event log", i.names.display), undo, nil
}

// service makes the service, or brings it in line.
func (i *installer) service(context.Context) (outcome string, undo func(context.Context) error, err error) {
	if i.before, err = service.Query(i.names.service); err != nil {
		return "", nil, err
	}
	args := append([]string{"service", "run"}, i.options()...)
	if link := cmp.Or(i.Link, option(i.before.Command, "--link")); link != "" {
		args = append(args, "--link", link)
	}
	i.changed, err = service.Install(service.Config{
		Name: i.names.service, Display: i.names.display,
		Description: "Keeps this device in touch with its Borealis engine, so that administrators can reach it.",
		Exe:         i.Program, Args: args,
	})
	undo = func(ctx context.Context) error { return service.Restore(ctx, i.names.service, i.before) }
	switch {
	case err != nil:
		return "", undo, err
	case !i.changed:
		return present, nil, nil
	case i.before.Installed:
		return "the service is as it should be again", undo, nil
	}
	return fmt.Sprintf("the service %s is made; it starts with Windows", i.names.service), undo, nil
}

// start starts the service, again when its command line changed.
func (i *installer) start(ctx context.Context) (string, func(context.Context) error, error) {
	is, err := service.Query(i.names.service)
	if err != nil {
		return "", nil, err
	}
	if is.Running && !i.changed {
		return present, nil, nil
	}
	undo := func(ctx context.Context) error { return service.Stop(ctx, i.names.service) }
	if err := service.Stop(ctx, i.names.service); err != nil {
		return "", undo, err
	}
	if err := service.Start(ctx, i.names.service); err != nil {
		return "", undo, err
	}
	return "the service runs", undo, nil
}
