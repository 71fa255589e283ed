package handlers

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestTurnstile: so many have a turn, and the next one waits until one leaves, or has been there for long.
func TestTurnstile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stile := newTurnstile()
		enter := func() func() {
			leave, err := stile.enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return leave
		}
		began := time.Now()
		leave := enter()
		for range maxTurns - 1 {
			enter()
		}
		if time.Since(began) != 0 {
			t.Error("somebody waited although there was room")
		}
		leave()
		leave() // again does no harm
		enter()
		if time.Since(began) != 0 {
			t.Error("nobody came in for who left")
		}
		enter()
		if took := time.Since(began); took != turnTime {
			t.Errorf("a turn of somebody who stays lasts %v, want %v", took, turnTime)
		}
		gone, cancel := context.WithCancel(t.Context())
		for range maxTurns {
			enter()
		}
		cancel()
		if _, err := stile.enter(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("who has gone enters: %v", err)
		}
		time.Sleep(turnTime) // virtual: the timers end
	})
}

// TestTurnEnds: a connection's turn ends when it asks, when it is known, and when it is gone, whatever is first.
func TestTurnEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*visitor){
		"asks": (*visitor).asks, "known": (*visitor).known, "closed": func(v *visitor) { v.Close() },
		"evicted": func(v *visitor) {
			v.door.mu.Lock()
			defer v.door.mu.Unlock()
			v.door.evictLocked(&v.door.waiting)
		},
	} {
		var d door
		ours, theirs := net.Pipe()
		defer theirs.Close()
		v := d.enter(ours)
		turns := 1
		v.passes(func() { turns-- })
		if end(v); turns != 0 {
			t.Errorf("%s: %d turns are left", name, turns)
		}
		turns = 1
		if v.passes(func() { turns-- }); turns != 0 {
			t.Errorf("%s: who is through has a turn", name)
		}
		v.Close()
	}
	turns := 1
	if (*visitor)(nil).passes(func() { turns-- }); turns != 0 {
		t.Error("a connection that came through no door keeps its turn")
	}
}
