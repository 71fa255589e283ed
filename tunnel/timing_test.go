package tunnel

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestIdleTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var expired atomic.Int64
		i := newIdleTimer(DefaultIdle, func() { expired.Store(int64(time.Since(start))) })
		time.Sleep(899 * time.Second)
		synctest.Wait()
		if expired.Load() != 0 || i.remaining() != time.Second {
			t.Fatalf("at 899 s: expired %v, remaining %v", time.Duration(expired.Load()), i.remaining())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if expired.Load() != int64(900*time.Second) || i.remaining() != 0 {
			t.Fatalf("at 900 s: expired %v, remaining %v", time.Duration(expired.Load()), i.remaining())
		}
		i.touch()
		time.Sleep(time.Hour)
		synctest.Wait()
		if expired.Load() != int64(900*time.Second) {
			t.Fatalf("expired again at %v", time.Duration(expired.Load()))
		}
	})
}

func TestIdleTimerIsTouched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var expired atomic.Int64
		i := newIdleTimer(DefaultIdle, func() { expired.Store(int64(time.Since(start))) })
		for range 10 {
			time.Sleep(899 * time.Second)
			i.touch()
		}
		time.Sleep(901 * time.Second)
		synctest.Wait()
		if want := 10*899*time.Second + 900*time.Second; expired.Load() != int64(want) {
			t.Errorf("expired at %v, want %v", time.Duration(expired.Load()), want)
		}
	})
}

func TestPages(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(p *pages, gone func(string))
		want time.Duration // when the tab is gone; 0 = never
	}{
		"reload": {func(p *pages, gone func(string)) {
			leave := p.enter("tab", gone)
			time.Sleep(time.Minute)
			leave()
			leave() // counted once
			time.Sleep(leaveGrace - time.Millisecond)
			p.enter("tab", gone)
		}, 0},
		"closed": {func(p *pages, gone func(string)) {
			leave := p.enter("tab", gone)
			time.Sleep(time.Minute)
			leave()
		}, time.Minute + leaveGrace},
		"two pages": {func(p *pages, gone func(string)) {
			one, two := p.enter("tab", gone), p.enter("tab", gone)
			one()
			time.Sleep(time.Minute)
			two()
		}, time.Minute + leaveGrace},
		"never came":        {func(p *pages, gone func(string)) { p.expect("tab", gone) }, leaveGrace},
		"came in time":      {func(p *pages, gone func(string)) { p.expect("tab", gone); p.enter("tab", gone) }, 0},
		"came and went":     {func(p *pages, gone func(string)) { p.expect("tab", gone); p.enter("tab", gone)() }, leaveGrace},
		"no tab":            {func(p *pages, gone func(string)) { p.expect("", gone); p.enter("", gone)() }, 0},
		"closed by manager": {func(p *pages, gone func(string)) { p.enter("tab", gone)(); p.close() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var got atomic.Int64
				var p pages
				c.do(&p, func(string) { got.Store(int64(time.Since(start))) })
				time.Sleep(time.Hour)
				synctest.Wait()
				if got.Load() != int64(c.want) {
					t.Errorf("gone after %v, want %v", time.Duration(got.Load()), c.want)
				}
			})
		})
	}
}

func TestWatchersNeverBlock(t *testing.T) {
	t.Parallel()
	var w watchers
	events, stop := w.add()
	for range watchBuffer + 10 {
		w.tell("one")
	}
	for range watchBuffer {
		if got := <-events; got != "one" {
			t.Fatalf("got %q", got)
		}
	}
	w.tell("two")
	if got := <-events; got != "" {
		t.Errorf("a watcher that missed something got %q, want the sign to look at everything", got)
	}
	w.tell("three")
	if got := <-events; got != "three" {
		t.Errorf("got %q", got)
	}
	stop()
	w.tell("four")
	select {
	case got := <-events:
		t.Errorf("after stop: %q", got)
	default:
	}
}
