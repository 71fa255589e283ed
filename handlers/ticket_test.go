package handlers

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTickets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := newTickets()
		get := func(session string) string {
			text, err := all.issue(session, "pc")
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		_, cut := context.WithCancelCause(t.Context())
		good := get("ann")
		if all.redeem(good, "bob", "pc", cut) == nil {
			t.Error("another session's ticket is good")
		}
		if all.redeem(good, "ann", "server", cut) == nil {
			t.Error("another device's ticket is good")
		}
		if all.redeem("", "ann", "pc", cut) == nil || all.redeem("x", "ann", "pc", cut) == nil {
			t.Error("anything is good")
		}
		if err := all.redeem(good, "ann", "pc", cut); err != nil {
			t.Error(err)
		}
		almost, late := get("ann"), get("ann")
		time.Sleep(ticketLife - 1)
		if err := all.redeem(almost, "ann", "pc", cut); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Nanosecond)
		if all.redeem(late, "ann", "pc", cut) == nil {
			t.Error("a ticket lives longer than 30 seconds")
		}
	})
}

// TestTicketTwice: the second use is refused and ends the first.
func TestTicketTwice(t *testing.T) {
	t.Parallel()
	all := newTickets()
	text, err := all.issue("ann", "pc")
	if err != nil {
		t.Fatal(err)
	}
	first, cut := context.WithCancelCause(t.Context())
	if err := all.redeem(text, "ann", "pc", cut); err != nil {
		t.Fatal(err)
	}
	_, other := context.WithCancelCause(t.Context())
	if all.redeem(text, "ann", "pc", other) == nil {
		t.Error("a ticket is good twice")
	}
	if !errors.Is(context.Cause(first), errTicketTwice) {
		t.Error("the first socket lives on")
	}
}

// TestTicketRace: of many uses at once exactly one is good.
func TestTicketRace(t *testing.T) {
	t.Parallel()
	all := newTickets()
	text, err := all.issue("ann", "pc")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	good := make(chan bool, 100)
	for range cap(good) {
		work.Go(func() {
			_, cut := context.WithCancelCause(t.Context())
			defer cut(nil)
			if all.redeem(text, "ann", "pc", cut) == nil {
				good <- true
			}
		})
	}
	work.Wait()
	if len(good) != 1 {
		t.Errorf("%d uses were good", len(good))
	}
}

func TestTicketsAreBounded(t *testing.T) {
	t.Parallel()
	all := newTickets()
	for range maxSessionTickets {
		if _, err := all.issue("ann", "pc"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := all.issue("ann", "pc"); err == nil {
		t.Error("a session has any number of tickets")
	}
	if _, err := all.issue("bob", "pc"); err != nil {
		t.Error(err)
	}
}
