package handlers

import (
	"context"
	"errors"
	"sync"

	"borealis/handlers/access"
	"borealis/store"
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
	counts  map[string]int // by credential; "" are the agents
	stopped bool
}

// An owner is whom an open answer is for, and what they need to keep it. The zero value
// is an agent, or the engine itself.
type owner struct {
	operator   store.Operator // as it was when the answer began
	credential string         // id of the session or API token
	device     store.Device   // zero when the answer is about no single device
	needs      access.Right
}

// A stream is one open answer.
type stream struct {
	owner

	all    *streams
	cancel context.CancelCauseFunc
}

// begin counts a stream in, and returns the context that ends when the client leaves,
// the owner may not have it any more or the server is closed; its cause says which. The
// caller calls end.
func (s *streams) begin(ctx context.Context, of owner) (context.Context, *stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, nil, refuse(codeStopping, "The engine is stopping.")
	}
	if of.credential != "" && (s.counts[of.credential] >= maxSessionStreams || len(s.open)-s.counts[""] >= maxStreams) {
		return nil, nil, refuse(codeTooMany, "Too many pages are open.")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	one := &stream{owner: of, all: s, cancel: cancel}
	if s.open == nil {
		s.open, s.counts = make(map[*stream]struct{}), make(map[string]int)
	}
	s.open[one] = struct{}{}
	s.counts[of.credential]++
	s.work.Add(1)
	return ctx, one, nil
}

// end counts a stream out.
func (t *stream) end() {
	t.cancel(nil)
	t.all.mu.Lock()
	delete(t.all.open, t)
	if t.all.counts[t.credential]--; t.all.counts[t.credential] == 0 {
		delete(t.all.counts, t.credential)
	}
	t.all.mu.Unlock()
	t.all.work.Done()
}

// endSession ends the streams of a session.
func (s *streams) endSession(session string) {
	for _, one := range s.owned() {
		if one.credential == session {
			one.cancel(errSessionGone)
		}
	}
}

// owned are the streams that are somebody's, at this moment.
func (s *streams) owned() []*stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*stream, 0, len(s.open))
	for one := range s.open {
		if one.credential != "" {
			all = append(all, one)
		}
	}
	return all
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
