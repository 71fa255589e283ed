package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

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

// link is the interface while it is open. It is guarded by Manager.mu.
type link struct {
	wg  *wg.Interface
	err error
}

// Link tells the state of the WireGuard interface.
func (m *Manager) Link() Link {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.link.wg == nil {
		return Link{Mode: m.config.Link.Mode, Name: m.config.Link.Name, Port: m.config.Link.ListenPort, Err: m.link.err}
	}
	i := m.link.wg
	return Link{Mode: i.Mode(), Reason: i.Reason(), Name: i.Name(), Port: i.ListenPort()}
}

// openLink returns the interface, or an error that is [ErrUnavailable].
func (m *Manager) openLink() (*wg.Interface, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.link.wg == nil {
		return nil, m.link.err
	}
	return m.link.wg, nil
}

// keepLink opens the interface, waits until it dies, and opens it again, until the
// manager is closed. It closes opened after the first attempt.
func (m *Manager) keepLink(ctx context.Context, opened chan struct{}) {
	for first := true; ctx.Err() == nil; first = false {
		i, err := m.startLink(ctx)
		m.mu.Lock()
		m.link.wg, m.link.err = i, err
		m.mu.Unlock()
		m.watch.tell("")
		if first {
			close(opened)
		}
		if err != nil {
			wait(ctx, linkRetry)
			continue
		}
		select {
		case <-ctx.Done():
		case <-i.Done():
			m.log.WarnContext(ctx, "link_lost", "link", i.Name())
		}
		m.loseLink(ctx, i)
	}
}

func (m *Manager) startLink(ctx context.Context) (*wg.Interface, error) {
	c := m.config.Link
	c.PrivateKey = m.config.Keys.WireGuard
	c.Address, c.Route = m.engineIP, m.config.Pool.Masked()
	c.Logger = m.log
	i, err := wg.Open(ctx, c)
	if err != nil {
		m.log.ErrorContext(ctx, "link_unavailable", "port", c.ListenPort, "err", err)
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("%w: UDP port %d is used by another program; stop it or choose another port with --udp-port", ErrUnavailable, c.ListenPort)
		}
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.log.InfoContext(ctx, "link_open", "link", i.Name(), "mode", i.Mode(), "reason", i.Reason(), "port", i.ListenPort())
	return i, nil
}

// loseLink takes the interface away from whoever would use it and ends its tunnels.
func (m *Manager) loseLink(ctx context.Context, i *wg.Interface) {
	m.mu.Lock()
	m.link.wg, m.link.err = nil, fmt.Errorf("%w: the WireGuard interface is being opened again", ErrUnavailable)
	live := m.sessionsLocked()
	m.mu.Unlock()
	for _, s := range live {
		s.end(InternalError)
	}
	for _, s := range live {
		<-s.ended
	}
	if err := i.Close(); err != nil {
		m.log.WarnContext(ctx, "link_close", "err", err)
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
