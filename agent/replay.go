package agent

import (
	"errors"
	"sync"
	"time"

	"borealis/tunnel/token"
)

// How long and how many ids of used tokens are remembered. A token cannot pass
// later than that, and it never passes on another connection.
const (
	rememberFor = 2 * (token.Early + token.Lifetime)
	rememberMax = 1000
)

// replay remembers the ids of used tokens. The zero value remembers none.
type replay struct {
	mu   sync.Mutex
	used map[string]time.Time
}

// use marks an id as used. It is an error when it was before, or when there are
// too many to tell.
func (r *replay) use(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for old, at := range r.used {
		if now.Sub(at) > rememberFor {
			delete(r.used, old)
		}
	}
	if _, ok := r.used[id]; ok {
		return errors.New("token was used before")
	}
	if len(r.used) >= rememberMax {
		return errors.New("too many tokens in a short time")
	}
	if r.used == nil {
		r.used = make(map[string]time.Time)
	}
	r.used[id] = now
	return nil
}
