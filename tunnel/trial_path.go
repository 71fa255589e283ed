package tunnel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/wg"
)

const (
	pathTrialLasts = 10 * time.Second // a trial's peer is there for at most this long
	pathTrialEvery = 5 * time.Second  // between the trials of one device
	pathTrialsMost = 16               // at a time, of all devices
)

var (
	// ErrTrying is returned by [Manager.TryPath] when there are too many trials: of the device in a
	// short time, or of all devices.
	ErrTrying = errors.New("the path is being tried too often")
	// ErrNoTrial is returned by [Manager.TryPath] when a trial is to be over that the engine does
	// not know, or not any more.
	ErrNoTrial = errors.New("the engine has no trial of that key")
)

// pathTrials are the handshakes that devices without a tunnel try: whether UDP passes both ways.
type pathTrials struct {
	mu    sync.Mutex
	tried map[string]*pathTrial // by device; also those that are over, for as long as they count
}

// A pathTrial is a peer to which nothing but the handshake passes, for some seconds.
type pathTrial struct {
	device string
	key    wgtypes.Key
	link   *wg.Interface
	began  time.Time
	stop   chan struct{} // closed to end it
	gone   chan struct{} // closed when the peer is gone
	once   sync.Once     // closes stop
	heard  bool          // a packet came; to be read when gone is closed
}

// end ends a trial, and returns when its peer is gone. It may be called more than once.
func (t *pathTrial) end() {
	t.enough()
	<-t.gone
}

// enough is end without waiting for it.
func (t *pathTrial) enough() { t.once.Do(func() { close(t.stop) }) }

func (t *pathTrial) over() bool {
	select {
	case <-t.gone:
		return true
	default:
		return false
	}
}

// TryPath takes one WireGuard handshake of a device that has no tunnel, so that its doctor can tell
// whether UDP passes between the two: for at most ten seconds the engine has a peer with the key of
// r, to and from which nothing else passes. A request with Done set ends that and says whether
// anything of the device was heard.
//
// Errors are [ErrUnknownDevice], [ErrPending], [ErrRevoked], [ErrLocked], [ErrActive] with a live
// tunnel, [ErrTrying], [ErrNoTrial], and [ErrUnavailable]. Each trial is on record.
func (m *Manager) TryPath(ctx context.Context, deviceID string, r wire.TrialRequest) (wire.Trial, error) {
	key, err := wgtypes.ParseKey(r.Key)
	if err != nil {
		return wire.Trial{}, fmt.Errorf("read the key: %w", err)
	}
	if r.Done {
		return m.endTrial(deviceID, key, r.Dialled)
	}
	link, err := m.openLink()
	if err != nil {
		return wire.Trial{}, err
	}
	answer, err := m.trialAnswer(link, r.Dialled)
	if err != nil {
		return wire.Trial{}, err
	}
	t, err := m.paths.enter(deviceID, key, link)
	if err != nil {
		return wire.Trial{}, err
	}
	if err := m.beginTrial(ctx, t); err != nil {
		m.paths.leave(t)
		return wire.Trial{}, err
	}
	answer.Seconds = int(pathTrialLasts.Seconds())
	return answer, nil
}

// beginTrial records a trial, adds its peer, and sees to it that the peer goes. The trial has its
// place already: who cuts the device off from here on ends it.
func (m *Manager) beginTrial(ctx context.Context, t *pathTrial) error {
	d, err := m.lookUp(ctx, t.device)
	if err != nil {
		return err
	}
	if err := m.mayTry(ctx, d, t.key); err != nil {
		return err
	}
	if err := m.recordFirst(ctx, store.Record{DeviceID: t.device, Kind: "path_trial"}); err != nil {
		return err
	}
	m.mu.Lock()
	if m.closing {
		m.mu.Unlock()
		return fmt.Errorf("%w: the engine is stopping", ErrUnavailable)
	}
	m.work.Add(1)
	m.mu.Unlock()
	if err := t.link.AddPeer(wg.Peer{PublicKey: t.key}); err != nil {
		m.work.Done()
		return fmt.Errorf("%w: add a peer for a trial: %w", ErrUnavailable, err)
	}
	go func() {
		defer m.work.Done()
		m.keepTrial(t)
	}()
	return nil
}

// mayTry is why a device may not try a handshake with a key.
func (m *Manager) mayTry(ctx context.Context, d store.Device, key wgtypes.Key) error {
	switch d.State {
	case store.Active:
	case store.Pending:
		return ErrPending
	default:
		return ErrRevoked
	}
	if err := m.unlocked(ctx, d); err != nil {
		return err
	}
	if s := m.session(d.ID); s != nil {
		return &ActiveError{TunnelID: s.id}
	}
	if m.tunnelKey(key) {
		return fmt.Errorf("%w: a tunnel has this key", ErrTrying)
	}
	return nil
}

// tunnelKey reports whether a tunnel has a key: its peer is not for a trial to touch.
func (m *Manager) tunnelKey(key wgtypes.Key) bool {
	m.mu.Lock()
	live := m.sessionsLocked()
	m.mu.Unlock()
	return slices.ContainsFunc(live, func(s *session) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.agentKey == key
	})
}

// keepTrial removes the peer of a trial when its time is up or somebody ends it.
func (m *Manager) keepTrial(t *pathTrial) {
	defer close(t.gone)
	defer m.config.after(t.device, pathTrialLasts, t.enough)()
	select {
	case <-t.stop:
	case <-t.link.Done():
	}
	if p, ok, err := t.link.Peer(t.key); err == nil && ok {
		t.heard = p.ReceivedBytes > 0 || p.Endpoint.IsValid() || !p.LastHandshake.IsZero()
	}
	if m.tunnelKey(t.key) {
		return // the peer is the tunnel's by now
	}
	if err := t.link.RemovePeer(t.key); err != nil {
		m.log.Warn("peer_remove_failed", "agent", t.device, "err", err)
	}
}

// endTrial ends a device's trial and says what was heard of it.
func (m *Manager) endTrial(deviceID string, key wgtypes.Key, dialled string) (wire.Trial, error) {
	t := m.paths.find(deviceID)
	if t == nil || t.key != key {
		return wire.Trial{}, ErrNoTrial
	}
	t.end()
	answer, err := m.trialAnswer(t.link, dialled)
	answer.Heard = t.heard
	return answer, err
}

// trialAnswer says where a handshake is expected.
func (m *Manager) trialAnswer(link *wg.Interface, dialled string) (wire.Trial, error) {
	endpoint, err := m.endpoint(dialled, link.ListenPort())
	if err != nil {
		return wire.Trial{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return wire.Trial{Endpoint: endpoint, ServerKey: link.PublicKey().String()}, nil
}

// enter takes a place for a trial, which leave gives back.
func (p *pathTrials) enter(device string, key wgtypes.Key, link *wg.Interface) (*pathTrial, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, running := time.Now(), 0
	for id, t := range p.tried {
		switch over := t.over(); {
		case id == device && !over:
			return nil, fmt.Errorf("%w: one of this device is under way", ErrTrying)
		case id == device && now.Sub(t.began) < pathTrialEvery:
			return nil, fmt.Errorf("%w: wait %d seconds between two", ErrTrying, int(pathTrialEvery.Seconds()))
		case !over && t.key == key:
			return nil, fmt.Errorf("%w: another device tries with this key", ErrTrying)
		case !over:
			running++
		case now.Sub(t.began) > pathTrialLasts+pathTrialEvery:
			delete(p.tried, id)
		}
	}
	if running >= pathTrialsMost {
		return nil, fmt.Errorf("%w: other devices are trying theirs", ErrTrying)
	}
	if p.tried == nil {
		p.tried = make(map[string]*pathTrial)
	}
	t := &pathTrial{device: device, key: key, link: link, began: now, stop: make(chan struct{}), gone: make(chan struct{})}
	p.tried[device] = t
	return t, nil
}

// leave gives the place of a trial back that did not begin.
func (p *pathTrials) leave(t *pathTrial) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(t.gone)
	delete(p.tried, t.device)
}

// find returns the trial of a device, also one that is over; nil when there is none.
func (p *pathTrials) find(device string) *pathTrial {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tried[device]
}

// end ends the trial of a device, if it has one.
func (p *pathTrials) end(device string) {
	if t := p.find(device); t != nil {
		t.end()
	}
}
