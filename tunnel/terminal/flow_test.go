package terminal

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"
)

// unread returns how much output waits for a viewer, and the viewer's window.
func unread(v *Viewer) (bytes, window int64) {
	v.terminal.mu.Lock()
	defer v.terminal.mu.Unlock()
	return v.terminal.ring.end - v.read, v.pace.window
}

// Ctrl-C under a flood reaches the prompt, and what is on its way to the viewer stays within the window.
func TestInterruptUnderFlood(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]time.Duration{"quick viewer": 0, "slow viewer": 40 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			term := open(t, newDevice(t).config(t))
			r := quiet(t, term)
			r.typeln("yes; echo cut short")
			widest := r.Window()
			begun := time.Now()
			for time.Since(begun) < time.Second {
				if err := r.more(); err != nil {
					t.Fatal(err)
				}
				if slow > 0 {
					<-time.After(slow) // a browser takes its time to draw
				}
				waiting, window := unread(r.Viewer)
				if widest = max(widest, window); waiting > widest {
					t.Fatalf("%d bytes unread with a window of %d", waiting, widest)
				}
			}
			pressed := time.Now()
			if _, err := term.Write([]byte{3}); err != nil {
				t.Fatal(err)
			}
			r.out = r.out[:0]
			for !bytes.Contains(r.out, []byte("ready> ")) {
				if err := r.more(); err != nil {
					t.Fatal(err)
				}
				if slow > 0 {
					<-time.After(slow)
				}
			}
			t.Logf("prompt after %v and %d bytes, window %d", time.Since(pressed), len(r.out), r.Window())
			if int64(len(r.out)) > 2*widest {
				t.Errorf("%d bytes came after Ctrl-C with a window of %d", len(r.out), widest)
			}
		})
	}
}

// A viewer that reads nothing holds the program, but not for ever.
func TestStalledViewer(t *testing.T) {
	t.Parallel()
	path, want := stream(t, 3<<20)
	term := open(t, newDevice(t).config(t))
	good := quiet(t, term)
	bad := watch(t, term, good.at)
	good.typeln("cat " + path)

	begun := time.Now()
	for len(good.out) < len(want) {
		if err := good.more(); err != nil {
			t.Fatal(err)
		}
	}
	if spent := time.Since(begun); spent < stall || spent > 3*stall {
		t.Errorf("the other viewer had its output after %v, want a little more than %v", spent, stall)
	}
	if !bytes.Equal(good.out[:len(want)], want) {
		t.Error("the other viewer did not get what was written")
	}
	if _, _, err := bad.Next(t.Context()); !errors.Is(err, ErrOverrun) {
		t.Fatalf("the stalled viewer gets %v, want %v", err, ErrOverrun)
	}
	again := term.View(bad.at)
	defer again.Close()
	if start, lost := again.Start(); lost == 0 || start != bad.at+lost {
		t.Errorf("the stalled viewer resumes at %d having lost %d", start, lost)
	}
	// The one that came back counts again: the next flood is held for it.
	good.out = nil
	good.typeln("cat " + path)
	deadline, cancel := context.WithTimeout(t.Context(), stall/2)
	defer cancel()
	for {
		data, offset, err := good.Next(deadline)
		if err != nil {
			break
		}
		good.Ack(offset + int64(len(data)))
	}
	if waiting, window := unread(again); waiting > int64(1<<20)+window {
		t.Errorf("%d bytes ran past a viewer that has just come", waiting)
	}
}

// A viewer that was not waited for counts again once it has caught up.
func TestParkedViewerCatchesUp(t *testing.T) {
	t.Parallel()
	path, want := stream(t, 800<<10)
	term := open(t, newDevice(t).config(t))
	r := quiet(t, term)
	r.typeln("cat " + path + "; echo; echo over")
	late := time.After(patient)
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		if waiting, _ := unread(r.Viewer); waiting > int64(len(want)) {
			tick.Stop()
			break
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("the command still waits for a stalled viewer")
		}
	}
	parked := func() bool {
		term.mu.Lock()
		defer term.mu.Unlock()
		return r.parked
	}
	if !parked() {
		t.Error("a stalled viewer counts")
	}
	if got := r.expect("over\n"); len(got) < len(want) || got[:len(want)] != string(want) {
		t.Errorf("%d bytes, not what was written", len(got))
	}
	if parked() {
		t.Error("a viewer that has caught up does not count")
	}
}
