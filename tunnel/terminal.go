package tunnel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"borealis/acl"
	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/keys"
	"borealis/tunnel/terminal"
)

const maxTerminals = 16 // of one tunnel at a time

// ErrShell is why a terminal is refused that shall run another shell than the device's own.
var ErrShell = errors.New("device cannot be asked for that shell")

// A TerminalRequest says which terminal a holder wants.
type TerminalRequest struct {
	TunnelID   string
	TerminalID string // of one that runs; when it does not, it is a new one
	Cols, Rows int    // of a new one
	Shell      string // of a new one: "" for the device's own, or a wire.Shell name
	// Permit is asked before a new one is opened, which its error prevents. Nil permits.
	Permit func(context.Context) error
}

// A liveTerminal is a terminal, and who opened it.
type liveTerminal struct {
	*terminal.Terminal

	holder Holder
	end    store.Record // of its end, as far as it is known
}

// Terminal returns a terminal of a tunnel that is up: the one named, when it still
// runs (resumed), else a new one, which is recorded before it is opened and when it is
// over. The terminal belongs to the tunnel, which closes it; the caller only closes its
// views. Errors: ErrNotConnected, ErrNotUp, ErrLocked, ErrUnavailable, acl.ErrRefused,
// ErrTooMany, ErrShell, and what Permit says. That the device does not have the shell,
// the terminal itself says.
func (m *Manager) Terminal(ctx context.Context, h Holder, q TerminalRequest) (t *terminal.Terminal, resumed bool, err error) {
	s := m.session(q.TunnelID)
	if s == nil {
		return nil, false, ErrNotConnected
	}
	if err := m.mayView(ctx, s); err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	maps.DeleteFunc(s.terminals, func(_ string, t *liveTerminal) bool { return over(t.Terminal) })
	running, many := s.terminals[q.TerminalID], len(s.terminals) >= maxTerminals
	s.mu.Unlock()
	if running == nil {
		if many {
			return nil, false, fmt.Errorf("%w: a tunnel has at most %d", ErrTooMany, maxTerminals)
		}
		if err := m.mayOpen(ctx, s, q); err != nil {
			return nil, false, err
		}
	}
	if ok, err := m.attach(ctx, s, h, "terminal"); err != nil {
		return nil, false, err
	} else if !ok {
		return nil, false, ErrNotUp
	}
	if running != nil {
		return running.Terminal, true, nil
	}
	t, err = s.openTerminal(ctx, h, q)
	return t, false, err
}

// mayView refuses the terminals of a tunnel, whoever wants to see them.
func (m *Manager) mayView(ctx context.Context, s *session) error {
	s.mu.Lock()
	up := s.state == Up
	s.mu.Unlock()
	if !up {
		return ErrNotUp
	}
	if err := m.guard.Check(acl.TCP, netip.AddrPortFrom(s.vip, wire.ShellPort)); err != nil {
		return err
	}
	return m.unlocked(ctx, s.device)
}

// mayOpen refuses a new terminal.
func (m *Manager) mayOpen(ctx context.Context, s *session, q TerminalRequest) error {
	switch q.Shell {
	case "":
	case wire.ShellPowerShell, wire.ShellPwsh, wire.ShellCmd:
		if c := m.channel(s.device.ID); c != nil && c.hello.Protocol < 2 { // it would open its own without a word
			return fmt.Errorf("%w: its agent is too old, update it", ErrShell)
		}
	default:
		return fmt.Errorf("%w: there is none of that name", ErrShell)
	}
	if err := m.recordable(); err != nil {
		return err
	}
	if q.Permit == nil {
		return nil
	}
	return q.Permit(ctx)
}

// openTerminal records a terminal and starts its shell.
func (s *session) openTerminal(ctx context.Context, h Holder, q TerminalRequest) (*terminal.Terminal, error) {
	m := s.manager
	s.mu.Lock()
	s.opened++
	did := store.Record{
		DeviceID: s.device.ID, TunnelID: s.id, Kind: "terminal_opened",
		Target: strconv.Itoa(s.opened), // which one it is; its id is for those who may view it
	}.By(h.Actor())
	s.mu.Unlock()
	did.Detail = q.Shell
	if err := m.recordFirst(ctx, did); err != nil {
		return nil, err
	}
	did.Kind, did.Detail = "terminal_closed", ""
	t, err := s.startShell(ctx, h, q)
	if err != nil {
		did.Result, did.Detail = store.Failed, bounded(err.Error())
		m.recordEnd(did)
		return nil, err
	}
	live := &liveTerminal{Terminal: t, holder: h, end: did}
	s.mu.Lock()
	wanted := s.state == Up && s.holders[h.key()] != nil // nor was the holder evicted meanwhile
	if wanted {
		s.terminals[t.ID()] = live
		s.attending.Add(1)
	}
	s.mu.Unlock()
	if !wanted {
		live.CloseFor(s.why())
		live.recordEnd(m)
		return nil, ErrNotUp
	}
	go s.attend(live)
	return t, nil
}

// startShell reaches a shell through the guarded dialer.
func (s *session) startShell(ctx context.Context, h Holder, q TerminalRequest) (*terminal.Terminal, error) {
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
		Conn: conn, HostKey: pin, ClientKey: s.shellKey, Cols: q.Cols, Rows: q.Rows, Shell: q.Shell,
		Env:    map[string]string{"BOREALIS_OPERATOR": h.Operator, "BOREALIS_TUNNEL": s.id},
		Echo:   s.manager.config.Observe.Echo,
		Logger: s.manager.log,
	})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("open the shell: %w", err)
	}
	return t, nil
}

// attend waits for a terminal's end and records it.
func (s *session) attend(t *liveTerminal) {
	defer s.attending.Done()
	<-t.Done()
	s.mu.Lock()
	delete(s.terminals, t.ID())
	s.mu.Unlock()
	t.Close()
	t.recordEnd(s.manager)
}

// recordEnd records how a terminal that is over ended.
func (t *liveTerminal) recordEnd(m *Manager) {
	did := t.end
	status, err := t.Exit()
	reason, closed := errors.AsType[Reason](err)
	switch {
	case err == nil:
		did.Detail = fmt.Sprintf("exit status %d", status)
	case closed:
		did.Reason = string(reason)
	default:
		did.Detail = bounded(err.Error())
	}
	m.recordEnd(did)
}

// closeTerminals ends the terminals of a tunnel that has ended, and returns when that is
// recorded.
func (s *session) closeTerminals(why Reason) {
	for _, t := range s.running() {
		t.CloseFor(why)
	}
	s.attending.Wait()
}

// running returns the terminals that have not ended.
func (s *session) running() []*liveTerminal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.terminals))
}

func over(t *terminal.Terminal) bool {
	select {
	case <-t.Done():
		return true
	default:
		return false
	}
}
