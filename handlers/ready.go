package handlers

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	readyTimeout = 2 * time.Second // for all parts together
	readyFor     = time.Second     // that an answer is good: anyone may ask, as often as they like
)

// A Part is something that an engine needs in order to serve.
type Part struct {
	Name string // a word: engine, manager, database, audit, link, or firewall
	Err  error  // why it is not ready; nil when it is
}

// readiness is what was found out last.
type readiness struct {
	stopping atomic.Bool

	mu    sync.Mutex
	parts []Part
	at    time.Time
}

// Stopping says that the engine is about to stop: from here on it is not ready, though it still
// answers, so that whoever spreads the load sends nobody here any more.
func (s *Server) Stopping() { s.ready.stopping.Store(true) }

// Parts tells how every part is that the engine needs. It answers within about two seconds, and not
// newer than a second old when it is asked often.
func (s *Server) Parts(ctx context.Context) []Part {
	engine := Part{Name: "engine"}
	if s.ready.stopping.Load() {
		engine.Err = errors.New("it is stopping")
	}
	return append([]Part{engine}, s.ready.look(ctx, s.inspect)...)
}

// look returns what inspect says, or said a moment ago. Others wait while one inspects.
func (r *readiness) look(ctx context.Context, inspect func(context.Context) []Part) []Part {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.parts == nil || time.Since(r.at) >= readyFor {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout) // the answer is for others too
		defer cancel()
		r.parts, r.at = inspect(ctx), time.Now()
	}
	return r.parts
}

// inspect looks at every part. What the manager knows can only be asked while it answers.
func (s *Server) inspect(ctx context.Context) []Part {
	m := s.config.Manager
	soon, cancel := context.WithTimeout(ctx, readyTimeout/2)
	defer cancel()
	parts := []Part{{Name: "manager", Err: m.Responds(soon)}}
	if parts[0].Err == nil {
		parts = append(parts, Part{"link", m.Link().Err}, Part{"firewall", m.Firewall().Err}, Part{"audit", m.Recording()})
	}
	_, _, err := s.config.Store.Head(ctx)
	return append(parts, Part{"database", err})
}

// readyz tells anyone whether the engine can do its work, and with a word each what keeps it from
// that; why, the log and the console say.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	answer := struct {
		Status  string   `json:"status"`
		Missing []string `json:"missing,omitempty"`
	}{Status: "ready"}
	for _, p := range s.Parts(r.Context()) {
		if p.Err != nil {
			answer.Status, answer.Missing = "not ready", append(answer.Missing, p.Name)
		}
	}
	if answer.Missing != nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	writeJSON(w, answer)
}
