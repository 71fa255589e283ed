package service

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/windows/svc"
)

// manage plays the service manager for a host.
type manage struct {
	requests chan svc.ChangeRequest
	said     []svc.Status
	specific bool
	code     uint32
	running  chan struct{} // Closed when the service says that it runs,
	over     chan struct{} // and when it has ended.
}

// execute runs a host below a service manager that notes what it is told.
func execute(h *host) *manage {
	m := &manage{requests: make(chan svc.ChangeRequest), running: make(chan struct{}), over: make(chan struct{})}
	status := make(chan svc.Status)
	go func() {
		for s := range status {
			if s.State == svc.Running && len(m.said) > 0 && m.said[len(m.said)-1].State == svc.StartPending {
				close(m.running)
			}
			m.said = append(m.said, s)
		}
		close(m.over)
	}()
	go func() {
		m.specific, m.code = h.Execute(nil, m.requests, status)
		close(status)
	}()
	return m
}

func TestEventsReachTheProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []Event
		h := &host{over: make(chan struct{}), events: make(chan Event, waiting), program: func(ctx context.Context, events <-chan Event) error {
			for {
				select {
				case e := <-events:
					heard = append(heard, e)
				case <-ctx.Done():
					return nil
				}
			}
		}}
		m := execute(h)
		m.requests <- svc.ChangeRequest{Cmd: svc.Interrogate}
		<-m.running
		m.requests <- svc.ChangeRequest{Cmd: svc.PowerEvent, EventType: 0x4} // It goes to sleep.
		m.requests <- svc.ChangeRequest{Cmd: svc.PowerEvent, EventType: 0x12}
		m.requests <- svc.ChangeRequest{Cmd: svc.Interrogate, CurrentStatus: svc.Status{State: svc.Running}}
		m.requests <- svc.ChangeRequest{Cmd: svc.PreShutdown}
		<-m.over
		if len(heard) != 1 || heard[0] != Resumed {
			t.Errorf("the program hears %v", heard)
		}
		var states []svc.State
		for _, s := range m.said {
			states = append(states, s.State)
		}
		want := []svc.State{svc.StartPending, svc.StartPending, svc.Running, svc.Running, svc.StopPending}
		if !slices.Equal(states, want) {
			t.Errorf("the service manager hears %v, want %v", states, want)
		}
		if got := m.said[2].Accepts; got != svc.AcceptStop|svc.AcceptShutdown|svc.AcceptPreShutdown|svc.AcceptPowerEvent {
			t.Errorf("it accepts %b", got)
		}
		if m.code != 0 || h.err != nil {
			t.Errorf("it ends with %d, %v", m.code, h.err)
		}
	})
}

// TestChangesOfTheNetwork calls what Windows calls.
func TestChangesOfTheNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := make(chan struct{}, 1)
		h := &host{events: make(chan Event, waiting)}
		requests, ended := make(chan svc.ChangeRequest), make(chan error)
		over := make(chan bool)
		go func() { over <- h.attend(requests, nil, network, ended) }()
		for range 5 { // They come in crowds.
			network <- struct{}{}
			synctest.Wait()
		}
		time.Sleep(settle)
		synctest.Wait()
		if n := len(h.events); n != 1 || <-h.events != NetworkChanged {
			t.Errorf("five changes at once are %d events", n)
		}
		for range 2 * waiting { // Nobody takes them.
			network <- struct{}{}
			time.Sleep(2 * settle)
		}
		if n := len(h.events); n != waiting {
			t.Errorf("%d events wait", n)
		}
		requests <- svc.ChangeRequest{Cmd: svc.Stop}
		if !<-over {
			t.Error("it does not stop")
		}
	})
	if _, _, err := syscall.SyscallN(onNetworkChange(), 0, 0, 0); err != 0 {
		t.Fatal(err)
	}
	if len(networkChanges) != 1 {
		t.Error("Windows calls, and nothing happens")
	}
	<-networkChanges
	changes, forget := watchNetwork()
	forget()
	if changes == nil {
		t.Error("the network cannot be watched")
	}
}

func TestHowAServiceEnds(t *testing.T) {
	told := errors.New("told to")
	tests := []struct {
		name    string
		program func(context.Context, <-chan Event) error
		stop    bool
		err     error
		code    uint32
		took    time.Duration
	}{
		{"by itself", func(context.Context, <-chan Event) error { return nil }, false, nil, 0, 0},
		{"with an error", func(context.Context, <-chan Event) error { return told }, false, told, failed, 0},
		{"when told to", func(ctx context.Context, _ <-chan Event) error { <-ctx.Done(); return nil }, true, nil, 0, 0},
		{"with an error when told to", func(ctx context.Context, _ <-chan Event) error { <-ctx.Done(); return told }, true, told, 0, 0},
		{"slowly", func(ctx context.Context, _ <-chan Event) error {
			<-ctx.Done()
			time.Sleep(stopLimit - time.Millisecond)
			return nil
		}, true, nil, 0, stopLimit - time.Millisecond},
		{"never", func(ctx context.Context, _ <-chan Event) error {
			<-ctx.Done()
			time.Sleep(2 * stopLimit)
			return nil
		}, true, errLate, 0, stopLimit},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			h := &host{over: make(chan struct{}), events: make(chan Event, waiting), program: tt.program}
			m := execute(h)
			if tt.stop {
				<-m.running
			}
			begun := time.Now()
			if tt.stop {
				m.requests <- svc.ChangeRequest{Cmd: svc.Stop}
			}
			<-m.over
			if !errors.Is(h.err, tt.err) || m.code != tt.code || m.specific != (tt.code != 0) {
				t.Errorf("%s: it ends with %v, code %d, specific %t", tt.name, h.err, m.code, m.specific)
			}
			if took := time.Since(begun); took != tt.took {
				t.Errorf("%s: it takes %v, want %v", tt.name, took, tt.took)
			}
			last := m.said[len(m.said)-1]
			if tt.took > 0 && (last.State != svc.StopPending || last.CheckPoint < 29) {
				t.Errorf("%s: the last that the service manager hears is %+v", tt.name, last)
			}
			time.Sleep(stopLimit) // A bubble ends with all that is in it.
		})
	}
}

// TestDispatcherThatHangs: a request that comes after the end blocks the dispatcher; the process ends all the same.
func TestDispatcherThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{over: make(chan struct{})}
		begun := time.Now()
		close(h.over)
		if err := h.dispatch(nil); err != nil || time.Since(begun) != farewell {
			t.Errorf("it ends with %v after %v", err, time.Since(begun))
		}
		told := make(chan error, 1)
		told <- errLate
		if err := h.dispatch(told); !errors.Is(err, errLate) {
			t.Errorf("a dispatcher that comes back: %v", err)
		}
	})
}
