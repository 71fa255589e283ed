package update

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// swapped is a place where a program was put in place of another, without any process.
func swapped(t *testing.T, s State) Place {
	t.Helper()
	dir := t.TempDir()
	p := Place{Exe: filepath.Join(dir, "agent.exe"), Data: dir}
	for path, content := range map[string]string{p.Exe: "new", p.previous(): "old"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.write(s); err != nil {
		t.Fatal(err)
	}
	return p
}

// in is what is in place.
func (p Place) in(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(p.Exe)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// puppet is a service that does what a test says.
type puppet struct {
	running bool
	starts  int
	stops   int

	onStart, onStop, onLook func() error
}

func (s *puppet) service() Service {
	do := func(f func() error) error {
		if f == nil {
			return nil
		}
		return f()
	}
	return Service{
		Stop:    func(context.Context) error { s.stops, s.running = s.stops+1, false; return do(s.onStop) },
		Start:   func(context.Context) error { s.starts, s.running = s.starts+1, true; return do(s.onStart) },
		Running: func() (bool, error) { return s.running, do(s.onLook) },
	}
}

func pending() State { return State{From: "v1", To: "v2", Sequence: 2, Phase: Pending, Watches: 1} }

// TestWatch has services that behave in every way that a watcher has to cope with.
func TestWatch(t *testing.T) {
	t.Parallel()
	errService := errors.New("the service manager is ill")
	for name, c := range map[string]struct {
		state  State
		act    func(t *testing.T, p Place, s *puppet)
		why    string // Why it is rolled back; "" when it is not.
		stops  int
		starts int
	}{
		"it checks in": {
			state: pending(), stops: 1, starts: 1,
			act: func(t *testing.T, p Place, s *puppet) { s.onStart = confirm(t, p) },
		},
		"it checks in the second time": {
			state: pending(), stops: 1, starts: 2,
			act: func(t *testing.T, p Place, s *puppet) {
				s.onStart = func() error {
					if s.running = s.starts > 1; s.running {
						return confirm(t, p)()
					}
					return nil
				}
			},
		},
		"it does not": {
			state: pending(), stops: 2, starts: 2, why: "version v2 did not check in with the engine within 120 seconds",
			act: func(*testing.T, Place, *puppet) {},
		},
		"it ends again and again": {
			state: pending(), stops: 2, starts: maxStarts + 1, why: "version v2 ended 5 times right after its start",
			act: func(_ *testing.T, _ Place, s *puppet) {
				s.onStart = func() error { s.running = s.starts > maxStarts; return nil }
			},
		},
		"it does not start": {
			state: pending(), stops: 2, starts: maxStarts + 1, why: "version v2 does not start: the service manager is ill",
			act: func(_ *testing.T, _ Place, s *puppet) {
				s.onStart = func() error {
					if s.running = s.starts > maxStarts; s.running {
						return nil
					}
					return errService
				}
			},
		},
		"a start takes too long": {
			state: pending(), stops: 2, starts: 2, why: "version v2 does not start: the service manager is ill",
			act: func(_ *testing.T, _ Place, s *puppet) {
				s.onStart = func() error {
					if s.running = s.starts > 1; s.running {
						return nil
					}
					<-time.After(Patience)
					return errService
				}
			},
		},
		"the old one does not stop": {
			state: pending(), stops: 2, starts: 1, why: "the old version did not stop: the service manager is ill",
			act: func(_ *testing.T, _ Place, s *puppet) { s.onStop = func() error { return errService } },
		},
		"nobody knows whether it runs": {
			state: pending(), stops: 2, starts: 1, why: "the service cannot be asked how it is: the service manager is ill",
			act: func(_ *testing.T, _ Place, s *puppet) { s.onLook = func() error { return errService } },
		},
		"it checks in at the last moment": {
			state: pending(), stops: 2, starts: 2,
			act: func(t *testing.T, p Place, s *puppet) {
				s.onStop = func() error {
					if s.stops == 2 {
						return confirm(t, p)()
					}
					return nil
				}
			},
		},
		"the device stopped before": {
			state: State{From: "v1", To: "v2", Sequence: 2, Phase: Pending, Watches: 2}, stops: 1, starts: 1,
			why: "version v2 did not check in with the engine within 120 seconds",
			act: func(_ *testing.T, _ Place, s *puppet) { s.running = true },
		},
		"the device stopped too often": {
			state: State{From: "v1", To: "v2", Sequence: 2, Phase: Pending, Watches: maxWatches + 1}, stops: 1, starts: 1,
			why: "the device stopped 3 times before version v2 checked in",
			act: func(*testing.T, Place, *puppet) {},
		},
		"it was confirmed before": {
			state: State{To: "v2", Sequence: 2, Phase: Confirmed},
			act:   func(*testing.T, Place, *puppet) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := swapped(t, c.state)
			synctest.Test(t, func(t *testing.T) {
				s := new(puppet)
				c.act(t, p, s)
				err := Watch(t.Context(), WatchConfig{Place: p, Service: s.service()})
				if s.stops != c.stops || s.starts != c.starts {
					t.Errorf("it stops the service %d times and starts it %d times, want %d and %d", s.stops, s.starts, c.stops, c.starts)
				}
				state, problem := p.Read()
				if problem != nil {
					t.Fatal(problem)
				}
				if c.why == "" {
					if err != nil || state.Phase != Confirmed || p.in(t) != "new" {
						t.Errorf("%v; the state is %+v, the %s program is in place", err, state, p.in(t))
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), c.why) || state.Phase != RolledBack || p.in(t) != "old" {
					t.Errorf("%v; the state is %+v, the %s program is in place", err, state, p.in(t))
				}
				if want := strings.ToUpper(c.why[:1]) + c.why[1:] + "."; state.Reason != want {
					t.Errorf("the reason is %q, want %q", state.Reason, want)
				}
				for _, path := range []string{p.staged(), p.previous()} {
					if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("%s is left: %v", path, err)
					}
				}
			})
		})
	}
}

// confirm checks in.
func confirm(t *testing.T, p Place) func() error {
	return func() error {
		_, news, err := p.Settle(2)
		if !news {
			t.Error("there is nothing to confirm")
		}
		return err
	}
}

// TestWatchEnds stops the device in the middle of a watch: nothing is taken back.
func TestWatchEnds(t *testing.T) {
	t.Parallel()
	p := swapped(t, pending())
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), Patience/2)
		defer cancel()
		s := new(puppet)
		if err := Watch(ctx, WatchConfig{Place: p, Service: s.service()}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ends with %v", err)
		}
		if state, err := p.Read(); err != nil || state.Phase != Pending || p.in(t) != "new" {
			t.Errorf("the state is %+v, %v; the %s program is in place", state, err, p.in(t))
		}
	})
}

// TestWatchOfNothing uninstalls the agent in the middle of a watch, or installs it anew:
// nothing is touched.
func TestWatchOfNothing(t *testing.T) {
	t.Parallel()
	for name, interfere := range map[string]func(Place) error{
		"uninstalled":     func(Place) error { return ErrGone },
		"installed again": Place.forget,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := swapped(t, pending())
			synctest.Test(t, func(t *testing.T) {
				s := new(puppet)
				s.onLook = func() error {
					if s.starts > 0 {
						return interfere(p)
					}
					return nil
				}
				if err := Watch(t.Context(), WatchConfig{Place: p, Service: s.service()}); !errors.Is(err, ErrGone) || s.starts != 1 {
					t.Errorf("it ends with %v after %d starts", err, s.starts)
				}
				if p.in(t) != "new" {
					t.Errorf("the %s program is in place", p.in(t))
				}
			})
		})
	}
}

func TestOneWatcher(t *testing.T) {
	t.Parallel()
	p := swapped(t, pending())
	unlock, err := lock(p.lockPath())
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := new(puppet)
		c := WatchConfig{Place: p, Service: s.service()}
		if err := Watch(t.Context(), c); !errors.Is(err, errLocked) || s.stops+s.starts > 0 {
			t.Errorf("a second watcher ends with %v", err)
		}
		s.onStart = confirm(t, p)
		time.AfterFunc(lockTimeout/2, unlock) // Somebody only looked.
		if err := Watch(t.Context(), c); err != nil {
			t.Error(err)
		}
	})
}

// TestRollBackStuck cannot put the old program back, because it is gone: the new one stays.
func TestRollBackStuck(t *testing.T) {
	t.Parallel()
	p := swapped(t, pending())
	if err := os.Remove(p.previous()); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := new(puppet)
		if err := Watch(t.Context(), WatchConfig{Place: p, Service: s.service()}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it ends with %v", err)
		}
		if p.in(t) != "new" || !s.running {
			t.Errorf("the %s program is in place, it runs: %v", p.in(t), s.running)
		}
	})
}

func TestSettle(t *testing.T) {
	t.Parallel()
	back := State{From: "v1", To: "v2", Sequence: 2, Phase: RolledBack, Reason: "x"}
	for name, c := range map[string]struct {
		state *State
		own   int64
		news  bool
		phase string // Afterwards; "" when there is no state.
	}{
		"nothing":       {nil, 2, false, ""},
		"the new one":   {new(pending()), 2, true, Confirmed},
		"the old one":   {new(pending()), 1, false, Pending},
		"another":       {new(pending()), 3, false, Pending},
		"a rolled back": {&back, 1, true, ""},
		"a confirmed":   {&State{Sequence: 2, Phase: Confirmed}, 2, false, Confirmed},
	} {
		p := placed(t, c.state)
		_, news, err := p.Settle(c.own)
		if err != nil || news != c.news {
			t.Errorf("%s: news %v, %v", name, news, err)
		}
		if s, err := p.Read(); s.Phase != c.phase || (err != nil) != (c.phase == "") {
			t.Errorf("%s: the state is %+v, %v", name, s, err)
		}
		if !p.isSwapped() {
			t.Errorf("%s: the old program is gone", name)
		}
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		state   *State
		swapped bool
		phase   string // Afterwards; "" when there is no state.
	}{
		"nothing":       {nil, true, ""},
		"cut off":       {new(pending()), false, RolledBack},
		"a rolled back": {&State{Phase: RolledBack}, true, RolledBack},
		"a confirmed":   {&State{Phase: Confirmed}, true, ""},
	} {
		p := placed(t, c.state)
		if err := os.Rename(p.Exe, p.staged()); err != nil {
			t.Fatal(err)
		}
		if !c.swapped {
			if err := os.Remove(p.previous()); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Resume(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s, err := p.Read(); s.Phase != c.phase || (err != nil) != (c.phase == "") {
			t.Errorf("%s: the state is %+v, %v", name, s, err)
		}
		if _, err := os.Stat(p.staged()); !errors.Is(err, fs.ErrNotExist) || p.isSwapped() {
			t.Errorf("%s: a program is left", name)
		}
	}

	// The old program is no program here, so nobody can watch. It stays all the same.
	p := placed(t, new(pending()))
	if err := p.Resume(); err == nil || !p.isSwapped() {
		t.Errorf("a watcher that cannot be started: %v", err)
	}
	if s, err := p.Read(); err != nil || s.Phase != Pending || s.Watches != 2 {
		t.Errorf("the state is %+v, %v", s, err)
	}
}

// placed is a place with two programs, and a state if there is one.
func placed(t *testing.T, s *State) Place {
	t.Helper()
	if s != nil {
		return swapped(t, *s)
	}
	p := swapped(t, pending())
	if err := p.forget(); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestDamagedState is read by nobody, and forgotten at the next start.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "{", `{"other":1}`, strings.Repeat(" ", maxState) + "{}"} {
		p := swapped(t, pending())
		if err := os.WriteFile(p.statePath(), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Read(); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%.20q: %v", content, err)
		}
		if _, news, err := p.Settle(2); err == nil || news {
			t.Errorf("%.20q: it is settled", content)
		}
		if err := p.Resume(); err == nil {
			t.Errorf("%.20q: it is resumed", content)
		}
		if _, err := p.Read(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%.20q: it is still there: %v", content, err)
		}
	}
}
