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
// The zero value is ready.
type tickets struct {
	mu  sync.Mutex
	all map[[32]byte]*ticket
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
	if t.all == nil {
		t.all = make(map[[32]byte]*ticket)
	}
	text := rand.Text()
	t.all[HashSecret(text)] = &ticket{session: session, device: device, expires: now.Add(ticketLife)}
	return text, nil
}

// redeem takes a ticket. It works once: whoever comes second with it has overheard
// it, or was overheard, so the socket that came first is cut too, by the cut that it
// gave.
func (t *tickets) redeem(text, session, device string, cut context.CancelCauseFunc) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.all[HashSecret(text)]
	switch {
	case one == nil || !one.expires.After(time.Now()) || one.session != session || one.device != device:
		return refuse(codeBadTicket, "The ticket is not for this terminal, or too old.")
	case one.used:
		one.cut(errTicketTwice)
		return refuse(codeBadTicket, "The ticket was used already.")
	}
	one.used, one.cut = true, cut
	return nil
}
