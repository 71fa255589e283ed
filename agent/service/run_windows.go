package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
)

const (
	accepts = svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPreShutdown | svc.AcceptPowerEvent
	settle  = time.Second // After a change of the network, which rarely comes alone.
	waiting = 8           // Events that may wait for the program.
	step    = time.Second // Between two signs of life while the service stops,

	stopLimit = 30 * time.Second // which may take so long.

	farewell = 3 * time.Second // After the end, for the service manager to be told of it.

	birth = 500 * time.Millisecond // A program that ends so soon never ran: whoever starts the service is told.

	resumed = 0x12 // PBT_APMRESUMEAUTOMATIC of winuser.h: sent at every waking.
	failed  = 1    // What the service ends with when its program failed.
)

var errLate = errors.New("the program did not end in time after it was told to")

func run(name string, program func(context.Context, <-chan Event) error) error {
	h := &host{program: program, events: make(chan Event, waiting), over: make(chan struct{})}
	dispatched := make(chan error, 1)
	go func() { dispatched <- svc.Run(name, h) }()
	err := h.dispatch(dispatched)
	if errors.Is(err, windows.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) {
		return fmt.Errorf("only the service manager can start a service: use \"run\" to run the agent in a window (%w)", err)
	}
	return errors.Join(err, h.err)
}

// host is the service's side towards the service manager.
type host struct {
	program func(context.Context, <-chan Event) error
	events  chan Event
	err     error         // Of the program.
	over    chan struct{} // Closed when nothing is taken any more.
}

// dispatch waits for the dispatcher, which nobody sets free again when it is told something
// after the service has ended: its process would hold its files for ever.
func (h *host) dispatch(dispatched <-chan error) error {
	select {
	case err := <-dispatched:
		return err
	case <-h.over:
	}
	select {
	case err := <-dispatched:
		return err
	case <-time.After(farewell):
		return nil
	}
}

// Execute implements [svc.Handler].
func (h *host) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (specific bool, code uint32) {
	defer close(h.over)
	network, forgetNetwork := watchNetwork()
	defer forgetNetwork()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- h.program(ctx, h.events) }()
	if h.born(requests, status, ended) && h.attend(requests, status, network, ended) {
		cancel()
		h.err = wind(requests, status, ended)
		return false, 0 // Who asked for the end does not want it started again.
	}
	if h.err != nil {
		return true, failed
	}
	return false, 0
}

// born waits for the program to have begun well, and reports whether it goes on.
func (h *host) born(requests <-chan svc.ChangeRequest, status chan<- svc.Status, ended <-chan error) bool {
	starting := svc.Status{State: svc.StartPending, WaitHint: milliseconds(2 * birth)}
	begun := time.After(birth)
	for status <- starting; ; {
		select {
		case h.err = <-ended:
			return false
		case <-begun:
			status <- svc.Status{State: svc.Running, Accepts: accepts}
			return true
		case <-requests:
			status <- starting
		}
	}
}

// attend answers the service manager until the program ends, or is to be stopped.
func (h *host) attend(requests <-chan svc.ChangeRequest, status chan<- svc.Status, network <-chan struct{}, ended <-chan error) (stop bool) {
	var settled <-chan time.Time
	for {
		select {
		case h.err = <-ended:
			return false
		case <-network:
			settled = time.After(settle)
		case <-settled:
			h.emit(NetworkChanged)
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				status <- r.CurrentStatus
			case svc.PowerEvent:
				if r.EventType == resumed {
					h.emit(Resumed)
				}
			case svc.Stop, svc.Shutdown, svc.PreShutdown:
				return true
			}
		}
	}
}

// emit hands an event to the program, unless too many wait already.
func (h *host) emit(e Event) {
	select {
	case h.events <- e:
	default:
	}
}

// wind waits for the program to end, and tells the service manager that it is still at it.
func wind(requests <-chan svc.ChangeRequest, status chan<- svc.Status, ended <-chan error) error {
	late := time.After(stopLimit)
	again := time.NewTicker(step)
	defer again.Stop()
	now := svc.Status{State: svc.StopPending, WaitHint: milliseconds(3 * step)}
	for status <- now; ; {
		select {
		case err := <-ended:
			return err
		case <-late:
			return errLate
		case <-again.C:
			now.CheckPoint++
			status <- now
		case <-requests:
			status <- now
		}
	}
}

// milliseconds is a duration of some seconds as the service manager wants it.
func milliseconds(d time.Duration) uint32 { return uint32(d.Milliseconds()) } //nolint:gosec // All are constants.
