package handlers

import (
	"context"
	"sync"
	"time"
)

// How many handshakes of agents are under way at once. When ten thousand agents come back at one
// moment, an operator's request waits behind these few and not behind all.
const (
	maxTurns = 64
	turnTime = 100 * time.Millisecond // after which a handshake counts no more: the other side may be slow, or not want to end it
)

// A turnstile lets a few through at a time. It is safe for concurrent use.
type turnstile struct{ turns chan struct{} }

func newTurnstile() turnstile { return turnstile{make(chan struct{}, maxTurns)} }

// enter waits for a turn, which ends with the first call of leave or after a time. The error is ctx's.
func (t turnstile) enter(ctx context.Context) (leave func(), err error) {
	if ctx.Err() != nil { // Who has gone takes nobody's turn.
		return nil, context.Cause(ctx)
	}
	select {
	case t.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	end := sync.OnceFunc(func() { <-t.turns })
	late := time.AfterFunc(turnTime, end)
	return func() { late.Stop(); end() }, nil
}
