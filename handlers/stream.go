package handlers

import (
	"context"
	"errors"
	"sync"
)

// How many streams and sockets may be open.
const (
	maxStreams        = 4096 // of operators, altogether
	maxSessionStreams = 64   // of one session
)

// Why a stream ends before its client leaves.
var (
	errStopping    = errors.New("the engine is stopping")
	errSessionGone = errors.New("the session has ended")
	errTicketTwice = errors.New("the ticket was used a second time")
)

// streams knows every answer that stays open: event streams, terminal sockets and
// agent channels. The zero value is ready.
type streams struct {
	work sync.WaitGroup

	mu      sync.Mutex
	open    map[*stream]struct{}
	counts  map[string]int // by session; "" are the agents
	stopped bool
}

// A stream is one open answer.
type stream struct {
	all     *streams
	session string
	cancel  context.CancelCauseFunc
}

// begin counts a stream in, and returns the context that ends when the client leaves,
// the session ends or the server is closed; its cause says which. The session is
// empty for an agent. The caller calls end.
func (s *streams) begin(ctx context.Context, session string) (context.Context, *stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, nil, refuse(codeStopping, "The engine is stopping.")
	}
	if session != "" && (s.counts[session] >= maxSessionStreams || len(s.open)-s.counts[""] >= maxStreams) {
		return nil, nil, refuse(codeTooMany, "Too many pages are open.")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	one := &stream{all: s, session: session, cancel: cancel}
	if s.open == nil {
		s.open, s.counts = make(map[*stream]struct{}), make(map[string]int)
	}
	s.open[one] = struct{}{}
	s.counts[session]++
	s.work.Add(1)
	return ctx, one, nil
}

// end counts a stream out.
func (t *stream) end() {
	t.cancel(nil)
	t.all.mu.Lock()
	delete(t.all.open, t)
	if t.all.counts[t.session]--; t.all.counts[t.session] == 0 {
		delete(t.all.counts, t.session)
	}
	t.all.mu.Unlock()
	t.all.work.Done()
}

// endSession ends the streams of a session.
func (s *streams) endSession(session string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.open {
		if one.session == session {
			one.cancel(errSessionGone)
		}
	}
}

// close ends every stream and waits for them.
func (s *streams) close() {
	s.mu.Lock()
	s.stopped = true
	for one := range s.open {
		one.cancel(errStopping)
	}
	s.mu.Unlock()
	s.work.Wait()
}
