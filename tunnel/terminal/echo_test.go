package terminal

import (
	"testing"
	"testing/synctest"
	"time"
)

// A key's answer is measured at a real shell, on the way there and back.
func TestEchoIsMeasured(t *testing.T) {
	t.Parallel()
	const trip = 50 * time.Millisecond
	d := newDevice(t)
	c := d.config(t)
	c.Conn.Close()
	c.Conn, _ = d.distant(t, trip)
	took := make(chan time.Duration, 1000)
	c.Echo = func(d time.Duration) { took <- d }
	term := open(t, c)
	r := quiet(t, term)
	r.typeln("echo go; cat")
	r.expect("go\n")
	for len(took) > 0 {
		<-took
	}
	for _, keys := range []string{"a\n", "b\n", "c\n"} { // cat answers each
		begun := time.Now()
		if _, err := term.Write([]byte(keys)); err != nil {
			t.Fatal(err)
		}
		if err := r.more(); err != nil {
			t.Fatal(err)
		}
		select {
		case d := <-took:
			if d < trip || d > time.Since(begun) {
				t.Errorf("%q was answered after %v, with %v to the device and back and %v here", keys, d, trip, time.Since(begun))
			}
		default:
			t.Errorf("the answer to %q was not measured", keys)
		}
	}
	if n := len(took); n > 0 {
		t.Errorf("%d answers without a key", n)
	}
}

// Only one key at a time waits for its answer; one that has none is forgotten.
func TestEchoMeasuresOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var took []time.Duration
		e := echo{since: time.Now(), tell: func(d time.Duration) { took = append(took, d) }}
		pass := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		want := func(what string, want ...time.Duration) {
			t.Helper()
			if len(took) != len(want) || len(want) == 1 && took[0] != want[0] {
				t.Errorf("%s: %v, want %v", what, took, want)
			}
			took = nil
		}
		e.answer()
		want("output before any key")
		pass(time.Second)
		e.ask()
		pass(20 * time.Millisecond)
		e.ask()
		pass(30 * time.Millisecond)
		e.answer()
		e.answer()
		want("two keys, then output", 50*time.Millisecond)
		e.ask()
		pass(longestEcho + time.Second)
		e.answer()
		want("output much later")
		e.ask()
		pass(longestEcho + time.Second)
		e.ask()
		pass(40 * time.Millisecond)
		e.answer()
		want("a key after one that had no answer", 40*time.Millisecond)
	})
}

// A key costs no memory.
func TestEchoAllocatesNothing(t *testing.T) {
	e := echo{since: time.Now(), tell: func(time.Duration) {}}
	if n := testing.AllocsPerRun(1000, func() { e.ask(); e.answer() }); n != 0 {
		t.Errorf("%v allocations for a key and its answer", n)
	}
}
