package handlers

import (
	"context"
	"errors"
	"io"
	"time"

	"borealis/acl"
	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/terminal"

	"github.com/coder/websocket"
)

const (
	idleWarning  = time.Minute      // before a tunnel stops
	sessionCheck = 15 * time.Second // how often an open stream's session is looked at
	touchEvery   = 50 * time.Millisecond
	endWait      = 10 * time.Second // for a tunnel's end to be complete
)

// errOutputOver says that the shell's output has been shown to its end.
var errOutputOver = errors.New("the shell's output is over")

// show carries output to the page, until there is no more.
func (k *terminalSocket) show(ctx context.Context) error {
	told := k.viewer.Window()
	for {
		data, _, err := k.viewer.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return errOutputOver
		case errors.Is(err, terminal.ErrOverrun): // the page comes back and is told what it missed
			return &parting{code: websocket.StatusTryAgainLater, reason: "the page fell too far behind"}
		case err != nil:
			return err
		}
		if err := writeMessage(ctx, k.conn, websocket.MessageBinary, data); err != nil {
			return err
		}
		if window := k.viewer.Window(); 4*max(window-told, told-window) >= told {
			told = window
			if err := k.tell(ctx, terminalWindow{"window", window}); err != nil {
				return err
			}
		}
	}
}

// read takes what the page sends, until the socket is closed. It never waits for the
// shell: acks must pass even while input is stuck.
func (k *terminalSocket) read(ctx context.Context) error {
	touched := time.Time{}
	for {
		kind, body, err := k.conn.Read(ctx)
		if err != nil {
			return err
		}
		active := true
		if kind == websocket.MessageBinary {
			err = k.queue(order{input: body})
		} else {
			active, err = k.obey(ctx, body)
		}
		if err != nil {
			return err
		}
		if now := time.Now(); active && now.Sub(touched) >= touchEvery {
			touched = now
			k.typed.Store(now.UnixNano())
			if t, _ := k.view(); t != nil {
				k.server.config.Manager.Touch(k.tunnel)
			}
		}
	}
}

// obey does what a text message says, and reports whether a person is behind it.
func (k *terminalSocket) obey(ctx context.Context, body []byte) (active bool, err error) {
	var said terminalOrder
	if err := readTerminal(body, &said); err != nil {
		return false, err
	}
	switch said.Type {
	case "ack":
		if _, viewer := k.view(); viewer != nil {
			viewer.Ack(said.Offset)
		}
		return false, nil
	case "resize":
		return said.Person, k.queue(order{cols: said.Cols, rows: said.Rows})
	case "ping":
		return false, k.tell(ctx, terminalPong{"pong", said.T})
	case "keep_open":
		return true, nil
	}
	return false, refuse(codeMalformed, "There is no message of the type %q.", clean(said.Type, 16))
}

// queue puts an order into the queue, which has room for all that a person can do.
func (k *terminalSocket) queue(o order) error {
	select {
	case k.orders <- o:
		return nil
	default:
		return errTooMuchInput
	}
}

// view returns the terminal and its viewer; nil until they are there.
func (k *terminalSocket) view() (*terminal.Terminal, *terminal.Viewer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.terminal, k.viewer
}

// carry takes what the page has ordered to the shell, in the order it came, until the
// socket ends. A shell that does not read its input holds it up for as long as it
// likes, so the socket does not wait for it. Only a stopping engine does, and ends the
// shell.
func (k *terminalSocket) carry(ctx context.Context) error {
	stopping, stream, err := k.server.streams.begin(context.WithoutCancel(ctx), owner{})
	if err != nil {
		return err
	}
	t, done := k.terminal, make(chan struct{})
	go func() {
		defer close(done)
		k.carryAll(ctx, t)
	}()
	go func() {
		defer stream.end()
		select {
		case <-done:
			return
		case <-stopping.Done():
		}
		grace := time.NewTimer(closeGrace)
		defer grace.Stop()
		select {
		case <-done:
		case <-grace.C:
			t.Close()
			<-done
		}
	}()
	return nil
}

func (k *terminalSocket) carryAll(ctx context.Context, t *terminal.Terminal) {
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-k.orders:
			var err error
			if o.input != nil {
				_, err = t.Write(o.input)
			} else {
				err = t.Resize(o.cols, o.rows)
			}
			if err != nil {
				return // the shell has ended: show tells
			}
		}
	}
}

// beat notices a page that is gone without a word.
func (k *terminalSocket) beat(ctx context.Context) error { return beat(ctx, k.conn, wire.Heartbeat) }

// watch warns before the tunnel stops for want of activity, and ends the socket when
// the session is over.
func (k *terminalSocket) watch(ctx context.Context) error {
	session := time.NewTicker(sessionCheck)
	defer session.Stop()
	idle := time.NewTimer(0)
	defer idle.Stop()
	signedIn := k.p.session
	for warned := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-session.C:
			if err := k.checkSession(ctx, &signedIn); err != nil {
				return err
			}
		case <-idle.C:
			st, err := k.server.config.Manager.Status(ctx, k.device)
			if err != nil || !st.Live() {
				continue // the terminal ends by itself
			}
			warn := st.IdleRemaining <= idleWarning
			if warn != warned {
				warned = warn
				if err := k.tell(ctx, terminalIdle{"idle", seconds(st.IdleRemaining)}); err != nil {
					return err
				}
			}
			if warn {
				idle.Reset(time.Second)
			} else {
				idle.Reset(st.IdleRemaining - idleWarning)
			}
		}
	}
}

// checkSession notes that a person has typed, and looks whether the session lives.
func (k *terminalSocket) checkSession(ctx context.Context, signedIn *store.Session) error {
	if typed := k.typed.Load(); typed > 0 {
		if at := time.Unix(0, typed); at.Sub(signedIn.SeenAt) >= sessionTouch {
			k.server.touch(ctx, *signedIn)
			signedIn.SeenAt = at
		}
	}
	return k.server.alive(k.request)
}

// outcome is how the page learns what ended the terminal: the shell, or the tunnel.
func (k *terminalSocket) outcome(ctx context.Context) error {
	status, err := k.terminal.Exit()
	if none, is := errors.AsType[*terminal.RefusedError](err); is {
		return &parting{message: terminalExit{"exit", status, sentence(none.Why) + "."}, code: websocket.StatusNormalClosure}
	}
	if _, signalled := errors.AsType[*terminal.SignalError](err); err == nil || signalled {
		return &parting{message: terminalExit{Type: "exit", Status: status}, code: websocket.StatusNormalClosure}
	}
	if k.shellClosed(ctx) {
		return refused(refuse(codePortClosed, "The port of the shell was closed for this device."))
	}
	if k.evicted(ctx, err) {
		return ended("")
	}
	if reason, over := k.server.endOf(ctx, k.device, k.tunnel, errors.Is(err, terminal.ErrClosed)); over {
		return ended(reason)
	}
	return refused(refuse(codeDown, "The connection to the shell was lost."))
}

// shellClosed reports whether the tunnel is up without the shell's port.
func (k *terminalSocket) shellClosed(ctx context.Context) bool {
	st, err := k.server.config.Manager.Status(ctx, k.device)
	return err == nil && st.Up() && st.TunnelID == k.tunnel && !acl.Contains(st.AllowedPorts, acl.TCP, wire.ShellPort)
}

// evicted reports whether the shell was closed, and the tunnel was not: who opened it may
// not use it any more.
func (k *terminalSocket) evicted(ctx context.Context, exit error) bool {
	if !errors.Is(exit, terminal.ErrClosed) {
		return false
	}
	st, err := k.server.config.Manager.Status(ctx, k.device)
	return err == nil && st.Up() && st.TunnelID == k.tunnel
}

// endOf is why a tunnel ended, and whether it has. While it is closing that is waited
// for; sure says that it will.
func (s *Server) endOf(ctx context.Context, device, id string, sure bool) (reason string, over bool) {
	ctx, cancel := context.WithTimeout(ctx, endWait)
	defer cancel()
	changes, stop := s.config.Manager.Watch()
	defer stop()
	for {
		st, err := s.config.Manager.Status(ctx, device)
		switch {
		case err != nil:
			return "", false
		case st.TunnelID != id: // there is a new one already
			t, err := s.config.Store.Tunnel(ctx, id)
			return t.Reason, err == nil
		case !st.Live():
			return string(st.Reason), true
		case !sure && st.Up():
			return "", false
		}
		select {
		case <-changes:
		case <-ctx.Done():
			return "", false
		}
	}
}
