package handlers

import (
	"context"
	"crypto/rand"
	"sync"
	"time"
)

const (
	ticketLife        = 30 * time.Second
	maxTickets        = 8192 // altogether
	maxSessionTickets = 32   // of one session
)

// tickets are the passes with which a page opens a terminal socket. A page of
// another site can make a browser open the socket, but cannot get a ticket.
type tickets struct {
	wrong *throttle // tickets that were not valid, by session

	mu  sync.Mutex
	all map[[32]byte]*ticket
}

func newTickets() *tickets {
	return &tickets{wrong: newThrottle(nameBurst), all: make(map[[32]byte]*ticket)}
}

// A ticket lets one socket of one session reach one device.
type ticket struct {
	session, device string
	expires         time.Time
	used            bool
	cut             context.CancelCauseFunc // ends the socket that used it
}

// issue makes a ticket.
func (t *tickets) issue(session, device string) (string, error) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	mine := 0
	for hash, one := range t.all {
		switch {
		case !one.expires.After(now):
			delete(t.all, hash)
		case one.session == session && !one.used:
			mine++
		}
	}
	if mine >= maxSessionTickets || len(t.all) >= maxTickets {
		return "", refuse(codeTooMany, "Too many terminals are being opened.")
	}
	text := rand.Text()
	t.all[HashSecret(text)] = &ticket{session: session, device: device, expires: now.Add(ticketLife)}
	return text, nil
}

// redeem takes a ticket. It works once: whoever comes second with it has overheard
// it, or was overheard, so the socket that came first is cut too, by the cut that it
// gave. A session that comes with too many bad ones has to wait.
func (t *tickets) redeem(text, session, device string, cut context.CancelCauseFunc) error {
	if wait := t.wrong.wait(session); wait > 0 {
		f := refuse(codeTooMany, "Too many tickets of this session were not valid. Try again in %s.", wait.Round(time.Second))
		f.retry = wait
		return f
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.all[HashSecret(text)]
	switch {
	case one == nil || !one.expires.After(time.Now()) || one.session != session || one.device != device:
		t.wrong.charge(session)
		return refuse(codeBadTicket, "The ticket is not for this terminal, or too old.")
	case one.used:
		t.wrong.charge(session)
		one.cut(errTicketTwice)
		return refuse(codeBadTicket, "The ticket was used already.")
	}
	one.used, one.cut = true, cut
	return nil
}
