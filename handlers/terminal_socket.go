package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"
	"borealis/tunnel/terminal"

	"github.com/coder/websocket"
	"github.com/go-chi/chi/v5"
)

// Limits of a terminal socket.
const (
	ticketTimeout = 10 * time.Second // for the first message
	maxTerminal   = 64 << 10         // bytes of one message of a page
	orderQueue    = 128              // messages that the shell has not taken
	closeGrace    = time.Second      // for the other side's answer to our goodbye
)

// A terminalSocket is one page's view of a terminal. The terminal itself belongs to
// the tunnel and outlives it.
type terminalSocket struct {
	server  *Server
	request *http.Request
	conn    *websocket.Conn
	p       principal
	device  string
	holder  tunnel.Holder
	tunnel  string       // id; set by attend
	orders  chan order   // for the shell
	typed   atomic.Int64 // when a person was last active, in Unix nanoseconds

	mu       sync.Mutex
	terminal *terminal.Terminal // nil until it is open
	viewer   *terminal.Viewer
}

// An order is input for the shell or, without any, a new size of its screen.
type order struct {
	input      []byte
	cols, rows int
}

// terminalSocket carries a terminal between a page and a device.
func (s *Server) terminalSocket(w http.ResponseWriter, r *http.Request, p principal) error {
	if p.session.ID != "" { // a program's token is sent by the program alone, a cookie by any page
		if err := sameOrigin(r); err != nil {
			return err
		}
	}
	d, err := s.device(r.Context(), p, chi.URLParam(r, "id"))
	if err != nil {
		return err
	}
	ctx, stream, err := s.streams.begin(r.Context(), p.opens(access.Connect, d))
	if err != nil {
		return err
	}
	defer stream.end()
	s.access.wake() // what was taken away since the request was let in
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{terminalProtocol}})
	if err != nil {
		return nil // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxTerminal)
	k := &terminalSocket{
		server: s, request: r, conn: conn, p: p, device: d.ID,
		orders: make(chan order, orderQueue),
	}
	k.serve(ctx, stream.cancel)
	return nil
}

// sameOrigin refuses a handshake that a page of another site began: browsers let any
// page open a socket to anywhere, and send the cookie along.
func sameOrigin(r *http.Request) error {
	if r.Header.Get("Origin") != "https://"+r.Host {
		return refuse(codeCrossOrigin, "A terminal can be opened by the console's own pages only.")
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return refuse(codeCrossOrigin, "A terminal can be opened by the console's own pages only.")
	}
	return nil
}

// serve runs the socket until it ends, and says goodbye.
func (k *terminalSocket) serve(ctx context.Context, cut context.CancelCauseFunc) {
	// What is read has a context of its own: when ctx ends, the page is still told why.
	reading, stopReading := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReading()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	hello, err := k.admit(ctx, cut)
	var work sync.WaitGroup
	if err == nil {
		work.Go(func() { cancel(k.read(reading)) })
		err = k.attend(ctx, hello)
	}
	if cause := context.Cause(ctx); cause != nil && !isParting(err) {
		err = cause // what ended it, and not what broke because of it
	}
	if p := partingOf(err); p != nil {
		k.part(context.WithoutCancel(ctx), p, stopReading)
	}
	k.conn.CloseNow()
	stopReading()
	work.Wait()
}

func isParting(err error) bool {
	_, ok := errors.AsType[*parting](err)
	return ok
}

// part sends the last message and the close code.
func (k *terminalSocket) part(ctx context.Context, p *parting, stopReading func()) {
	if p.message != nil {
		ctx, cancel := context.WithTimeout(ctx, closeGrace)
		defer cancel()
		if err := k.tell(ctx, p.message); err != nil {
			return
		}
	}
	defer time.AfterFunc(closeGrace, stopReading).Stop()
	k.conn.Close(p.code, p.reason)
}

// admit reads the first message and checks its ticket.
func (k *terminalSocket) admit(ctx context.Context, cut context.CancelCauseFunc) (terminalHello, error) {
	var hello terminalHello
	if k.conn.Subprotocol() != terminalProtocol {
		return hello, refuse(codeMalformed, "The socket's subprotocol is not %s.", terminalProtocol)
	}
	ctx, cancel := context.WithTimeout(ctx, ticketTimeout)
	defer cancel()
	kind, body, err := k.conn.Read(ctx)
	if err != nil {
		return hello, err
	}
	if kind != websocket.MessageText {
		return hello, refuse(codeMalformed, "The first message is not text.")
	}
	if err := readTerminal(body, &hello); err != nil {
		return hello, err
	}
	if err := k.server.tickets.redeem(hello.Ticket, k.p.credential(), k.device, cut); err != nil {
		k.server.log.WarnContext(ctx, "ticket_refused", "operator", k.p.operator.Name, "agent", k.device, "addr", address(k.request), "err", err)
		return hello, err
	}
	k.holder = k.p.holder(hello.Tab)
	return hello, nil
}

// attend brings the terminal to the page and stays until one of them ends.
func (k *terminalSocket) attend(ctx context.Context, hello terminalHello) error {
	defer k.server.config.Manager.Present(k.holder.Tab)()
	if err := k.awaitTunnel(ctx); err != nil {
		return err
	}
	resumed, err := k.open(ctx, hello)
	if err != nil {
		return err
	}
	defer k.viewer.Close()
	if err := k.welcome(ctx, hello, resumed); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel(nil)
	if err := k.carry(ctx); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{k.watch, k.beat} {
		work.Go(func() {
			if err := part(ctx); err != nil {
				cancel(err)
			}
		})
	}
	err = k.show(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, errOutputOver) {
		err = k.outcome(ctx)
	}
	return err
}

// awaitTunnel waits until the device's tunnel is up. It starts none: that takes a
// person who presses Connect.
func (k *terminalSocket) awaitTunnel(ctx context.Context) error {
	m := k.server.config.Manager
	st, err := m.Status(ctx, k.device)
	if err != nil {
		return refused(err)
	}
	if !st.Live() {
		return refused(tunnel.ErrNotConnected)
	}
	k.tunnel = st.TunnelID
	_, err = m.WaitUp(ctx, st.TunnelID, func(step store.Step) {
		// A page that is gone is noticed by whoever reads from it.
		_ = k.tell(ctx, terminalStep{"step", step.Name, step.Detail, millisSince(st.RequestedAt, step.At)})
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if reason, over := errors.AsType[tunnel.Reason](err); over {
		return ended(string(reason))
	}
	if err != nil {
		return refused(err)
	}
	return nil
}

// open finds the terminal or makes a new one, and views it.
func (k *terminalSocket) open(ctx context.Context, hello terminalHello) (resumed bool, err error) {
	begun := time.Now()
	t, resumed, err := k.server.config.Manager.Terminal(ctx, k.holder, tunnel.TerminalRequest{
		TunnelID: k.tunnel, TerminalID: hello.Terminal, Shell: hello.Shell, Cols: hello.Cols, Rows: hello.Rows,
		Permit: func(ctx context.Context) error { return k.server.stepUp(ctx, k.p) },
	})
	if errors.Is(err, tunnel.ErrShell) {
		err = invalid("shell", "%s.", sentence(err.Error()))
	}
	if err != nil {
		if ctx.Err() == nil && problemOf(err).Code == codeInternal {
			k.server.log.ErrorContext(ctx, "terminal_failed", "tunnel", k.tunnel, "agent", k.device, "err", err)
		}
		return false, refused(err)
	}
	from := hello.Offset
	if resumed {
		err = k.queue(order{cols: hello.Cols, rows: hello.Rows})
	} else {
		from = -1
		err = k.tell(ctx, terminalStep{"step", "shell", "", time.Since(begun).Milliseconds()})
	}
	if err != nil {
		return false, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.terminal, k.viewer = t, t.View(from)
	return resumed, nil
}

// welcome tells the page what follows.
func (k *terminalSocket) welcome(ctx context.Context, hello terminalHello, resumed bool) error {
	offset, lost := k.viewer.Start()
	return k.tell(ctx, terminalWelcome{
		Type: "hello", Terminal: k.terminal.ID(), Offset: offset, Lost: lost, Resumed: resumed,
		Window: k.viewer.Window(), Cols: hello.Cols, Rows: hello.Rows,
	})
}

// tell sends a text message to the page.
func (k *terminalSocket) tell(ctx context.Context, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	return writeMessage(ctx, k.conn, websocket.MessageText, body)
}
