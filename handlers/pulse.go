package handlers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// missedBeats is how many unanswered pings in a row make a peer dead.
const missedBeats = 2

// beat pings the other side regularly, so that a connection that is dead is noticed.
// It returns nil when ctx ends.
func beat(ctx context.Context, conn *websocket.Conn, every time.Duration) error {
	dead := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer startPulse(ctx, conn, every, func(err error) { dead <- err }).stop()
	defer cancel()
	select {
	case <-ctx.Done():
		return nil
	case err := <-dead:
		return err
	}
}

// A pulse pings the other side regularly, without a goroutine that waits in between.
type pulse struct {
	ctx    context.Context
	conn   *websocket.Conn
	every  time.Duration
	dead   func(error)
	missed int // in a row
	over   chan struct{}

	mu    sync.Mutex
	timer *time.Timer
	ended bool
}

// startPulse starts one, which calls dead once when the connection is. The caller ends ctx and then
// stops it.
func startPulse(ctx context.Context, conn *websocket.Conn, every time.Duration, dead func(error)) *pulse {
	p := &pulse{ctx: ctx, conn: conn, every: every, dead: dead, over: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(every, p.beat)
	return p
}

// stop returns when nothing of the pulse runs.
func (p *pulse) stop() {
	p.mu.Lock()
	p.ended = true
	waits := p.timer.Stop()
	p.mu.Unlock()
	if !waits {
		<-p.over
	}
}

// beat pings once and sets the timer for the next time, unless that is in vain.
func (p *pulse) beat() {
	err := p.ping()
	if err != nil {
		p.dead(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || p.ended {
		close(p.over)
		return
	}
	p.timer.Reset(p.every)
}

// ping returns an error when the other side is dead.
func (p *pulse) ping() error {
	alone, cancel := lasting(p.ctx, p.every)
	defer cancel()
	err := p.conn.Ping(alone)
	switch {
	case p.ctx.Err() != nil:
	case err == nil:
		p.missed = 0
	default:
		if p.missed++; p.missed == missedBeats || !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("no answer to a ping: %w", err)
		}
	}
	return nil
}
