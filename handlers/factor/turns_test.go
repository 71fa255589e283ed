package factor

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
)

// TestTurns: who came last is next, who gives up is left out, and there is never more
// than one.
func TestTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all turns
		if !all.take(t.Context()) {
			t.Fatal("the first one waits")
		}
		var order []int
		impatient, giveUp := context.WithCancel(t.Context())
		for i := range 4 {
			ctx := t.Context()
			if i == 2 {
				ctx = impatient
			}
			go func() {
				if all.take(ctx) {
					order = append(order, i) // only one is let through
					all.give()
				} else if i != 2 {
					t.Errorf("%d was turned away", i)
				}
			}()
			synctest.Wait()
		}
		giveUp()
		synctest.Wait()
		if !all.wanted() {
			t.Error("nobody waits")
		}
		all.give()
		synctest.Wait()
		if len(order) != 3 || order[0] != 3 || order[1] != 1 || order[2] != 0 {
			t.Errorf("the order was %v", order)
		}
		if all.wanted() || all.taken {
			t.Error("a turn is lost")
		}
		if all.take(impatient) {
			t.Error("who has given up gets a turn")
		}
	})
}

// TestTurnsRace: however many come and give up, no turn is lost and none is given twice.
func TestTurnsRace(t *testing.T) {
	t.Parallel()
	var all turns
	var work sync.WaitGroup
	inside := 0
	for i := range 200 {
		work.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%3 == 0 {
				go cancel()
			}
			if all.take(ctx) {
				inside++
				if inside != 1 {
					t.Error("two at a time")
				}
				inside--
				all.give()
			}
		})
	}
	work.Wait()
	if all.taken || all.wanted() {
		t.Error("a turn is lost")
	}
}
