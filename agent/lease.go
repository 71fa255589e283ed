package agent

import (
	"sync"
	"time"

	"borealis/agent/wire"
)

// lease bounds a tunnel's life by what the engine said last. It calls expire, in
// a goroutine of its own, with [wire.LeaseExpired] when the engine did not renew
// it in time and with [wire.ChannelLost] when the channel was gone for too long.
type lease struct {
	expire func(reason string)

	mu      sync.Mutex
	over    bool
	renewal *time.Timer
	channel *time.Timer // nil while there is a channel.
}

// newLease starts a lease of [wire.Lease].
func newLease(expire func(reason string)) *lease {
	l := &lease{expire: expire}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewal = time.AfterFunc(wire.Lease, func() { l.expired(wire.LeaseExpired) })
	return l
}

// renew lets the tunnel live for d from now, at most [wire.Lease].
func (l *lease) renew(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.renewal.Reset(min(d, wire.Lease))
	}
}

// lost says that the channel is gone. Saying it again changes nothing.
func (l *lease) lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over && l.channel == nil {
		l.channel = time.AfterFunc(wire.ChannelGrace, func() { l.expired(wire.ChannelLost) })
	}
}

// back says that there is a channel again.
func (l *lease) back() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.channel != nil {
		l.channel.Stop()
		l.channel = nil
	}
}

// stop ends the lease without a word. It is safe to call twice.
func (l *lease) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopLocked()
}

func (l *lease) stopLocked() {
	l.over = true
	l.renewal.Stop()
	if l.channel != nil {
		l.channel.Stop()
	}
}

// expired ends the lease and tells its owner, once.
func (l *lease) expired(reason string) {
	l.mu.Lock()
	over := l.over
	l.stopLocked()
	l.mu.Unlock()
	if !over {
		l.expire(reason)
	}
}
