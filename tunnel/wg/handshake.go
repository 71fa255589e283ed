package wg

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

const (
	firstPoll = 500 * time.Microsecond
	lastPoll  = 20 * time.Millisecond
	// pollShare bounds what reading the device may cost, however many wait: a reading serves
	// everybody for pollShare times as long as it took.
	pollShare = 4
)

// snapshot is one reading of all peers.
type snapshot struct {
	peers   map[wgtypes.Key]PeerState
	changes uint64    // of the peer table, when the reading began
	until   time.Time // how long it may serve
}

// recent returns a reading of all peers that shows at least the first since changes of the table
// and is otherwise no older than a few times what it costs. The map must not be written to.
func (i *Interface) recent(since uint64) (map[wgtypes.Key]PeerState, error) {
	for {
		if err := i.alive(); err != nil {
			return nil, err
		}
		if s := i.snapshot.Load(); s != nil && s.changes >= since && time.Now().Before(s.until) {
			return s.peers, nil
		}
		// Somebody may be reading already; but perhaps since before the change.
		v, err, _ := i.refreshes.Do("", func() (any, error) { return i.read() })
		if err != nil {
			return nil, err
		}
		if s := v.(*snapshot); s.changes >= since {
			return s.peers, nil
		}
	}
}

// read reads the device for everybody who asks in the next moments.
func (i *Interface) read() (*snapshot, error) {
	start := time.Now()
	s := &snapshot{changes: i.changes.Load()}
	h, err := i.table.read()
	if err != nil {
		return nil, err
	}
	s.peers = make(map[wgtypes.Key]PeerState, len(h.peers))
	for _, p := range h.peers {
		s.peers[p.PublicKey] = p.PeerState
	}
	now := time.Now()
	s.until = now.Add(pollShare * now.Sub(start))
	i.snapshot.Store(s)
	return s, nil
}

// Handshake waits until the peer's first handshake since it was added is complete. It returns
// ctx's error when ctx ends first, [ErrNoPeer] when there is no such peer (any more), and
// [net.ErrClosed] when the interface is gone.
func (i *Interface) Handshake(ctx context.Context, key wgtypes.Key) error {
	since := i.changes.Load()
	pause := firstPoll
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		peers, err := i.recent(since)
		if err != nil {
			return fmt.Errorf("handshake with %s: %w", key, err)
		}
		p, ok := peers[key]
		if !ok {
			// A device that goes down loses its peers first.
			return fmt.Errorf("handshake with %s: %w", key, cmp.Or(i.alive(), ErrNoPeer))
		}
		if !p.LastHandshake.IsZero() {
			return nil
		}
		select {
		case <-timer.C:
		case <-i.done:
			return fmt.Errorf("handshake with %s: %w", key, net.ErrClosed)
		case <-ctx.Done():
			return fmt.Errorf("handshake with %s: %w", key, context.Cause(ctx))
		}
		pause = min(pause*5/4, lastPoll)
		timer.Reset(pause)
	}
}
