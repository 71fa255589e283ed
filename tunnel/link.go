package tunnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"borealis/acl/netfilter"
	"borealis/store"
	"borealis/tunnel/wg"
)

// A Link describes the WireGuard interface that all tunnels share.
type Link struct {
	Mode   wg.Mode
	Reason string // why this mode
	Name   string
	Port   int   // UDP
	Err    error // why there are no tunnels now; nil when there can be
}

// link is the interface while it is open, with the firewall of the host that belongs
// to it. It is guarded by Manager.mu.
type link struct {
	wg       *wg.Interface
	firewall *netfilter.Firewall // nil in netstack mode
	reason   string              // why this mode, when it was not for the interface to say
	err      error               // why there is no interface
	lost     error               // why no tunnel may use it; nil when they may
}

// Link tells the state of the WireGuard interface.
func (m *Manager) Link() Link {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.link.wg == nil {
		return Link{Mode: m.config.Link.Mode, Name: m.config.Link.Name, Port: m.config.Link.ListenPort, Err: m.link.err}
	}
	i := m.link.wg
	return Link{Mode: i.Mode(), Reason: cmp.Or(m.link.reason, i.Reason()), Name: i.Name(), Port: i.ListenPort(), Err: m.link.lost}
}

// openLink returns the interface, or an error that is [ErrUnavailable].
func (m *Manager) openLink() (*wg.Interface, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.link.wg == nil:
		return nil, m.link.err
	case m.link.lost != nil:
		return nil, m.link.lost
	}
	return m.link.wg, nil
}

// keepLink opens the interface, waits until it dies, and opens it again at once, until the
// manager is closed; only an attempt that fails is followed by a pause, and the loss of an
// interface that somebody does not stop to take away. It closes opened after the first
// attempt.
func (m *Manager) keepLink(ctx context.Context, opened chan struct{}) {
	atOnce := rate.NewLimiter(rate.Every(m.config.reopen), reopenAtOnce)
	for first := true; ctx.Err() == nil; first = false {
		events := make(chan netfilter.Event, firewallEvents)
		l := m.startLink(ctx, events)
		m.mu.Lock()
		m.link = l
		m.mu.Unlock()
		m.watch.tell("")
		if first {
			close(opened)
		}
		if l.err != nil {
			wait(ctx, m.config.reopen)
			continue
		}
		if !first {
			m.record(store.Record{Kind: "link_open", Detail: fmt.Sprintf("Interface %s, mode %s, UDP port %d.", l.wg.Name(), l.wg.Mode(), l.wg.ListenPort())})
		}
		why := m.attendLink(ctx, l, events)
		if ctx.Err() == nil {
			m.log.WarnContext(ctx, "link_lost", "link", l.wg.Name(), "reason", why)
			m.record(store.Record{Kind: "link_lost", Detail: bounded(why)})
		}
		m.loseLink(ctx, l, why)
		if !atOnce.Allow() {
			wait(ctx, m.config.reopen)
		}
	}
}

// attendLink sees to the interface and to the host's firewall until the interface dies or
// cannot be put right. It returns why that was.
func (m *Manager) attendLink(ctx context.Context, l link, events <-chan netfilter.Event) (why string) {
	look := time.NewTicker(restoreEvery)
	look.Stop() // runs while the firewall is lost
	defer look.Stop()
	r := newRepairer(m, l.wg)
	defer r.timer.Stop()
	lost := false
	for {
		was := lost
		select {
		case <-ctx.Done():
			return ""
		case <-l.wg.Done():
			return linkGone
		case <-l.wg.Changed():
			r.hurry()
			continue
		case <-r.timer.C:
			if why := r.repair(ctx); why != "" {
				return why
			}
			continue
		case e := <-events:
			lost = m.firewallEvent(ctx, l, e)
		case <-look.C:
		}
		if lost {
			lost = m.restoreFirewall(ctx, l)
		}
		switch {
		case lost && !was:
			look.Reset(restoreEvery)
		case !lost:
			look.Stop()
		}
	}
}

// startLink opens the host's firewall, where the mode has one, and then the
// interface: there is no moment at which packets pass without rules.
func (m *Manager) startLink(ctx context.Context, events chan netfilter.Event) (l link) {
	c := m.config.Link
	c.PrivateKey = m.config.Keys.WireGuard
	c.Address, c.Route = m.engineIP, m.config.Pool.Masked()
	c.Logger = m.log
	l.firewall, l.reason, l.err = m.openFirewall(ctx, &c, events)
	if l.err == nil {
		l.wg, l.err = wg.Open(ctx, c)
	}
	if l.firewall != nil && (l.err != nil || l.wg.Mode() == wg.Netstack) {
		m.closeFirewall(ctx, l.firewall)
		l.firewall = nil
	}
	if errors.Is(l.err, syscall.EADDRINUSE) {
		l.err = fmt.Errorf("UDP port %d is used by %s; stop it or choose another port with --udp-port", c.ListenPort, wg.PortHolder(c.ListenPort))
	}
	if l.err != nil {
		m.log.ErrorContext(ctx, "link_unavailable", "port", c.ListenPort, "err", l.err)
		return link{err: fmt.Errorf("%w: %w", ErrUnavailable, l.err)}
	}
	if l.firewall != nil {
		m.plan.setHost(l.firewall)
	}
	level := slog.LevelInfo
	if l.reason != "" { // it is not what could be had with the firewall
		level = slog.LevelWarn
	}
	m.log.Log(ctx, level, "link_open", "link", l.wg.Name(), "mode", l.wg.Mode(), "reason", cmp.Or(l.reason, l.wg.Reason()), "port", l.wg.ListenPort())
	return l
}

// loseLink takes the interface away from whoever would use it and ends its tunnels, for
// the people who had them with why.
func (m *Manager) loseLink(ctx context.Context, l link, why string) {
	m.mu.Lock()
	m.link = link{err: fmt.Errorf("%w: the WireGuard interface is being opened again", ErrUnavailable)}
	live := m.sessionsLocked()
	m.mu.Unlock()
	for _, s := range live {
		s.fail(InternalError, why)
	}
	for _, s := range live {
		<-s.ended
	}
	if err := l.wg.Close(); err != nil {
		m.log.WarnContext(ctx, "link_close", "err", err)
	}
	if l.firewall != nil {
		m.plan.setHost(nil)
		m.closeFirewall(ctx, l.firewall)
	}
}

// endpoint is where an agent that dialled the engine as dialled sends WireGuard packets.
func (m *Manager) endpoint(dialled string, port int) (string, error) {
	host := m.config.PublicEndpoint
	if host == "" {
		host = dialled
	} else if h, p, ok := splitHostPort(host); ok {
		return joinHostPort(h, p), nil
	}
	h, _, ok := splitHostPort(host)
	if !ok {
		h = host
	}
	if a, err := netip.ParseAddr(h); (err == nil && a.IsUnspecified()) || h == "" {
		return "", fmt.Errorf("no address for WireGuard: the agent dialled %q; set --public-endpoint", dialled)
	}
	return joinHostPort(h, fmt.Sprint(port)), nil
}

// wait returns after d or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
