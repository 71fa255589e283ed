package tunnel

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"borealis/store"
)

// A Holder is who uses a tunnel, and where from.
type Holder struct {
	OperatorID string
	Operator   string // name
	Session    string // id of the web session or of the API token
	Source     string // address that the operator comes from
	Tab        string // id of the browser tab; empty for the API
}

// Actor is the holder as records name it.
func (h Holder) Actor() store.Actor {
	return store.Actor{Name: h.Operator, Session: h.Session, Source: h.Source}
}

// holderKey is one place that a holder uses a tunnel from.
type holderKey struct{ session, tab string }

func (h Holder) key() holderKey { return holderKey{h.Session, h.Tab} }

// An attachment is one holder's use of a tunnel.
type attachment struct {
	holder Holder
	since  time.Time
	kind   string
}

// Attached is an attachment as people see it.
type Attached struct {
	Name  string
	Since time.Time
	Kind  string // console, terminal, or api
}

func holderKind(h Holder) string {
	if h.Tab == "" {
		return "api"
	}
	return "console"
}

// attach counts a holder in, once, and records it first. It reports false when the tunnel
// is ending.
func (m *Manager) attach(ctx context.Context, s *session, h Holder, kind string) (bool, error) {
	release, err := take(ctx, s.joining) // so that nobody is on record twice
	if err != nil {
		return false, err
	}
	defer release()
	k := h.key()
	s.mu.Lock()
	a, open := s.holders[k], !s.closing() && s.holders != nil
	if open && a != nil && kind == "terminal" {
		a.kind = kind
	}
	s.mu.Unlock()
	if !open {
		return false, nil
	}
	if a == nil {
		if err := m.recordable(); err != nil {
			return false, err
		}
		did := store.Record{DeviceID: s.device.ID, TunnelID: s.id, Kind: "operator_joined"}.By(h.Actor())
		if err := m.recordFirst(ctx, did); err != nil {
			return false, err
		}
		s.mu.Lock()
		if open = !s.closing() && s.holders != nil; open {
			s.holders[k] = &attachment{holder: h, since: time.Now(), kind: kind}
		}
		s.mu.Unlock()
		if !open {
			did.Kind, did.Reason = "operator_left", string(s.why())
			m.recordEnd(did)
			return false, nil
		}
		m.pages.expect(h.Tab, m.releaseTab)
		m.watch.tell(s.device.ID)
	}
	s.idle.touch()
	return true, nil
}

// release counts out the holders for whom why gives a reason. When nobody is left the
// tunnel ends at once. It reports whether anybody was counted out.
func (m *Manager) release(s *session, why func(Holder) Reason) bool {
	leaving := make(map[*attachment]Reason)
	for _, a := range s.attached() {
		if r := why(a.holder); r != "" {
			leaving[a] = r
		}
	}
	if len(leaving) == 0 {
		return false
	}
	s.mu.Lock()
	var end *failure
	for k, a := range s.holders {
		if r := leaving[a]; r != "" {
			delete(s.holders, k)
			m.recordEnd(store.Record{DeviceID: s.device.ID, TunnelID: s.id, Kind: "operator_left", Reason: string(r)}.By(a.holder.Actor()))
			end = &failure{reason: r, by: leaver(a.holder, r)}
		}
	}
	if end != nil && len(s.holders) == 0 {
		s.cancel(end) // before anybody can join what is about to end
	}
	s.mu.Unlock()
	m.watch.tell(s.device.ID)
	return true
}

// leaver is who ends a tunnel by leaving it; nobody when the engine put them out.
func leaver(h Holder, r Reason) store.Actor {
	if r == OperatorDisconnect || r == OperatorLeft {
		return h.Actor()
	}
	return store.Actor{}
}

// attached returns the attachments there are.
func (s *session) attached() []*attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.holders))
}

// Disconnect ends a holder's use of a tunnel, named by its own id or its device's:
// all of the operator's attachments are released, and the last one out stops the
// tunnel. With force it stops for everyone. It returns when what it started is done.
func (m *Manager) Disconnect(ctx context.Context, deviceOrTunnelID string, h Holder, force bool) (Status, error) {
	s := m.session(deviceOrTunnelID)
	if s == nil {
		return Status{}, ErrNotConnected
	}
	if force {
		s.cancel(&failure{reason: OperatorForceStop, by: h.Actor()})
	} else {
		m.release(s, func(o Holder) Reason { return OperatorDisconnect.when(o.OperatorID == h.OperatorID) })
	}
	if s.closing() {
		select {
		case <-s.ended:
		case <-ctx.Done():
			return Status{}, ctx.Err()
		}
	}
	return m.statusOf(s), nil
}

// Touch says that an operator did something in a tunnel.
func (m *Manager) Touch(tunnelID string) {
	if s := m.session(tunnelID); s != nil {
		s.idle.touch()
	}
}

// Present says that a page of a browser tab is connected. When the last one of the
// tab is gone for a while, what the tab is attached to is released: a reload keeps a
// tunnel, a closed tab does not.
func (m *Manager) Present(tab string) (leave func()) { return m.pages.enter(tab, m.releaseTab) }

func (m *Manager) releaseTab(tab string) {
	m.mu.Lock()
	live := m.sessionsLocked()
	m.mu.Unlock()
	for _, s := range live {
		m.release(s, func(h Holder) Reason { return OperatorLeft.when(h.Tab == tab) })
	}
}

// pages counts the pages that each browser tab has open and says when a tab is gone.
type pages struct {
	mu     sync.Mutex
	tabs   map[string]*page
	closed bool
	work   sync.WaitGroup
}

type page struct {
	open  int
	timer *time.Timer // runs while none is open
}

// enter counts a page in; leave counts it out and may be called more than once.
func (p *pages) enter(tab string, gone func(string)) (leave func()) {
	if tab == "" {
		return func() {}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.tabLocked(tab)
	one.open++
	if one.timer != nil {
		one.timer.Stop()
		one.timer = nil
	}
	var once sync.Once
	return func() {
		once.Do(func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if one.open--; one.open == 0 {
				p.countdownLocked(tab, one, gone)
			}
		})
	}
}

// expect gives a tab the usual time to open a page.
func (p *pages) expect(tab string, gone func(string)) {
	if tab == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if one := p.tabLocked(tab); one.open == 0 && one.timer == nil {
		p.countdownLocked(tab, one, gone)
	}
}

func (p *pages) tabLocked(tab string) *page {
	if p.tabs == nil {
		p.tabs = make(map[string]*page)
	}
	one := p.tabs[tab]
	if one == nil {
		one = &page{}
		p.tabs[tab] = one
	}
	return one
}

func (p *pages) countdownLocked(tab string, one *page, gone func(string)) {
	if p.closed {
		return
	}
	one.timer = time.AfterFunc(leaveGrace, func() {
		p.mu.Lock()
		if p.closed || p.tabs[tab] != one || one.open > 0 {
			p.mu.Unlock()
			return
		}
		delete(p.tabs, tab)
		p.work.Add(1)
		p.mu.Unlock()
		defer p.work.Done()
		gone(tab)
	})
}

func (p *pages) close() {
	p.mu.Lock()
	p.closed = true
	for _, one := range p.tabs {
		if one.timer != nil {
			one.timer.Stop()
		}
	}
	p.mu.Unlock()
	p.work.Wait()
}
