package handlers

import (
	"crypto/sha256"
	"sync"
	"time"

	"borealis/handlers/factor"
)

// Limits of what is kept of people who are proving who they are.
const (
	keptLife = factor.ChallengeLife
	maxKept  = 4096 // of a kind altogether
	maxOwned = 32   // of a kind, of one session or address
	maxTries = 5    // with one sign-in that waits for its second factor
)

// A keep holds things that somebody may come back for within [keptLife]. What there is
// no room for takes the place of the oldest, of the same owner first: a stranger who
// begins many sign-ins loses their own. It is safe for concurrent use.
type keep[T any] struct {
	mu  sync.Mutex
	all map[[32]byte]*kept[T]
}

type kept[T any] struct {
	value T
	owner string // who began it: a session, or an address
	until time.Time
	tries int
}

// put keeps a value under a key, in place of what was under it.
func (k *keep[T]) put(key, owner string, value T) {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil {
		k.all = make(map[[32]byte]*kept[T])
	}
	delete(k.all, sha256.Sum256([]byte(key)))
	var oldest, oldestOwn *[32]byte
	own := 0
	for at, one := range k.all {
		if !one.until.After(now) {
			delete(k.all, at)
			continue
		}
		if oldest == nil || one.until.Before(k.all[*oldest].until) {
			oldest = &at
		}
		if one.owner == owner {
			if own++; oldestOwn == nil || one.until.Before(k.all[*oldestOwn].until) {
				oldestOwn = &at
			}
		}
	}
	switch {
	case own >= maxOwned:
		delete(k.all, *oldestOwn)
	case len(k.all) >= maxKept:
		delete(k.all, *oldest)
	}
	k.all[sha256.Sum256([]byte(key))] = &kept[T]{value: value, owner: owner, until: now.Add(keptLife)}
}

// look returns what is kept under a key.
func (k *keep[T]) look(key string) (value T, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if one := k.liveLocked(key); one != nil {
		return one.value, true
	}
	return value, false
}

// try is look for somebody who has a limited number of tries with it.
func (k *keep[T]) try(key string) (value T, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	one := k.liveLocked(key)
	if one == nil || one.tries >= maxTries {
		return value, false
	}
	one.tries++
	return one.value, true
}

// take is look that succeeds once.
func (k *keep[T]) take(key string) (value T, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	one := k.liveLocked(key)
	if one == nil {
		return value, false
	}
	delete(k.all, sha256.Sum256([]byte(key)))
	return one.value, true
}

func (k *keep[T]) liveLocked(key string) *kept[T] {
	one := k.all[sha256.Sum256([]byte(key))]
	if key == "" || one == nil || !one.until.After(time.Now()) {
		return nil
	}
	return one
}
