package tunnel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"borealis/acl"
	"borealis/agent/wire"
	"borealis/tunnel/keys"
	"borealis/tunnel/terminal"
)

const maxTerminals = 16 // of one tunnel at a time

// Terminal returns a terminal of a tunnel that is up: the one named, when it still
// runs (resumed), else a new one. The terminal belongs to the tunnel, which closes
// it; the caller only closes its views. Errors: ErrNotConnected, ErrNotUp,
// acl.ErrRefused, ErrTooMany.
func (m *Manager) Terminal(ctx context.Context, tunnelID, terminalID string, h Holder, cols, rows int) (t *terminal.Terminal, resumed bool, err error) {
	s := m.session(tunnelID)
	if s == nil {
		return nil, false, ErrNotConnected
	}
	s.mu.Lock()
	up := s.state == Up
	maps.DeleteFunc(s.terminals, func(_ string, t *terminal.Terminal) bool { return over(t) })
	t = s.terminals[terminalID]
	many := len(s.terminals) >= maxTerminals
	s.mu.Unlock()
	refused := m.guard.Check(acl.TCP, netip.AddrPortFrom(s.vip, wire.ShellPort))
	switch {
	case !up:
		return nil, false, ErrNotUp
	case refused != nil:
		return nil, false, refused
	case !m.attach(ctx, s, h, "terminal"):
		return nil, false, ErrNotUp
	case t != nil:
		return t, true, nil
	case many:
		return nil, false, fmt.Errorf("%w: a tunnel has at most %d", ErrTooMany, maxTerminals)
	}
	t, err = s.openTerminal(ctx, h, cols, rows)
	return t, false, err
}

// openTerminal starts a shell through the guarded dialer.
func (s *session) openTerminal(ctx context.Context, h Holder, cols, rows int) (*terminal.Terminal, error) {
	pin, err := keys.ParsePin(s.device.Pin)
	if err != nil {
		return nil, fmt.Errorf("read the device's pin: %w", err)
	}
	conn, err := s.dialTCP(ctx, wire.ShellPort)
	if errors.Is(err, acl.ErrRefused) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("reach the shell's port: %w", err)
	}
	t, err := terminal.Open(ctx, terminal.Config{
		Conn: conn, HostKey: pin, ClientKey: s.shellKey, Cols: cols, Rows: rows,
		Env:    map[string]string{"BOREALIS_OPERATOR": h.Operator, "BOREALIS_TUNNEL": s.id},
		Logger: s.manager.log,
	})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("open the shell: %w", err)
	}
	s.mu.Lock()
	late := s.state != Up
	if !late {
		s.terminals[t.ID()] = t
	}
	s.mu.Unlock()
	if late {
		t.Close()
		return nil, ErrNotUp
	}
	return t, nil
}

// takeTerminals hands out the terminals to be closed.
func (s *session) takeTerminals() []*terminal.Terminal {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Collect(maps.Values(s.terminals))
	s.terminals = nil
	return all
}

func over(t *terminal.Terminal) bool {
	select {
	case <-t.Done():
		return true
	default:
		return false
	}
}
