package handlers

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"borealis/store"
)

// attempt counts a try to prove who somebody is, before its outcome is known, so that
// tries at the same time count too. It is about an operator's name, or whatever else is
// being guessed at. Who has failed too often, or whose name has, is refused; else the
// caller calls [Server.forgive] unless the try failed.
func (s *Server) attempt(r *http.Request, name string) error {
	wait := s.sources.charge(source(r))
	if wait == 0 {
		if wait = s.names.charge(strings.ToLower(name)); wait > 0 {
			s.sources.forgive(source(r))
		}
	}
	if wait == 0 {
		return nil
	}
	f := refuse(codeTooMany, "Too many tries have failed. Try again in %s.", wait.Round(time.Second))
	f.retry = wait
	return f
}

// forgive takes back what [Server.attempt] counted.
func (s *Server) forgive(r *http.Request, name string) {
	s.sources.forgive(source(r))
	s.names.forgive(strings.ToLower(name))
}

// Limits of the records that people cause of whom nobody knows who they are.
const (
	maxRefusalRecords = 100 // of a kind in a refusalSpan; then one line counts the rest
	refusalSpan       = time.Minute
)

// refusals bounds how many records strangers can cause: the audit trail is for people
// to read, and is kept for ever. It is safe for concurrent use.
type refusals struct {
	summary func(kind string, more int) // writes what was left out, once a span is over

	mu     sync.Mutex
	spans  map[string]*refusalCount // by kind
	closed bool
	work   sync.WaitGroup
}

// A refusalCount counts the refusals of a kind within a span.
type refusalCount struct {
	n    int
	over *time.Timer
}

// admit reports whether one more refusal of a kind may be recorded by itself.
func (f *refusals) admit(kind string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	if f.spans == nil {
		f.spans = make(map[string]*refusalCount)
	}
	c := f.spans[kind]
	if c == nil {
		c = new(refusalCount)
		f.spans[kind] = c
		f.work.Add(1)
		c.over = time.AfterFunc(refusalSpan, func() { f.end(kind) })
	}
	c.n++
	return c.n <= maxRefusalRecords
}

// end ends a span.
func (f *refusals) end(kind string) {
	defer f.work.Done()
	f.mu.Lock()
	more := f.spans[kind].n - maxRefusalRecords
	delete(f.spans, kind)
	f.mu.Unlock()
	if more > 0 {
		f.summary(kind, more)
	}
}

// close ends every span and returns when its summary is written.
func (f *refusals) close() {
	f.mu.Lock()
	f.closed = true
	var early []string
	for kind, c := range f.spans {
		if c.over.Stop() {
			early = append(early, kind)
		}
	}
	f.mu.Unlock()
	for _, kind := range early {
		f.end(kind)
	}
	f.work.Wait()
}

// recordRefusal writes down that somebody was refused who has not proven who they are.
// After many of a kind only their number is.
func (s *Server) recordRefusal(ctx context.Context, a store.Record) {
	if a.Kind == signInFailed {
		s.counts.signInFailures.Add(1)
	}
	if a.Result = store.Refused; s.refusals.admit(a.Kind) {
		s.record(ctx, a)
	}
}

// recordMoreRefusals writes down how many refusals of a kind have no line of their own.
func (s *Server) recordMoreRefusals(kind string, more int) {
	s.record(context.Background(), store.Record{
		Kind: kind, Result: store.Refused, Detail: fmt.Sprintf("%d more within a minute", more),
	})
}
