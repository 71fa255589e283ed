package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"
)

// Limits of an agent's channel.
const (
	helloTimeout  = 10 * time.Second
	writeTimeout  = 10 * time.Second // of one message to an agent or a browser
	agentMessages = 100              // messages a second that an agent may send for long
	agentBurst    = 500              // and at once
)

// agentChannel is the connection that an agent keeps to its engine. Who the agent is,
// only its TLS certificate says. The channel outlives the request that asked for it: ten
// thousand of them do not hold ten thousand requests, and the stacks of their handshakes.
func (s *Server) agentChannel(w http.ResponseWriter, r *http.Request) {
	d, err := s.agentDevice(r.Context(), r.TLS)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	ctx, stream, err := s.streams.begin(context.WithoutCancel(r.Context()), owner{})
	if err != nil {
		s.fail(w, r, err)
		return
	}
	kept := false
	defer func() {
		if !kept {
			stream.end()
		}
	}()
	if l := s.joinChannel(ctx, w, r, d); l != nil {
		kept = true
		go func() {
			defer stream.end()
			s.keepChannel(ctx, l)
		}()
	}
}

// A line is an agent's channel and the connection that it is on.
type line struct {
	conn    *websocket.Conn
	channel *tunnel.Channel
	device  string
	addr    string
}

// end ends both.
func (l *line) end() {
	if l.channel != nil {
		l.channel.Leave()
	}
	l.conn.CloseNow()
}

// joinChannel makes the connection of a request an agent's channel. It returns nil when there is
// none, which the agent has been told.
func (s *Server) joinChannel(ctx context.Context, w http.ResponseWriter, r *http.Request, d store.Device) *line {
	conn, err := websocket.Accept(lean{w}, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
	if err != nil {
		s.log.DebugContext(ctx, "agent_refused", "agent", d.ID, "addr", address(r), "err", err)
		return nil // Accept has answered
	}
	l := &line{conn: conn, device: d.ID, addr: address(r)}
	joined := false
	defer func() {
		if !joined {
			l.end()
		}
	}()
	conn.SetReadLimit(wire.MaxMessage)
	if conn.Subprotocol() != wire.Subprotocol {
		conn.Close(websocket.StatusPolicyViolation, "the subprotocol is "+wire.Subprotocol)
		return nil
	}
	hello, err := readHello(ctx, conn)
	if err != nil {
		s.log.WarnContext(ctx, "agent_refused", "agent", d.ID, "addr", l.addr, "err", err)
		conn.Close(websocket.StatusPolicyViolation, "the first message is a hello")
		return nil
	}
	if l.channel, err = s.config.Manager.Join(ctx, d, hello, l.addr, s.identity(r.TLS.ServerName), conn.Ping); err != nil {
		s.log.ErrorContext(ctx, "agent_refused", "agent", d.ID, "addr", l.addr, "err", err)
		conn.Close(websocket.StatusTryAgainLater, "")
		return nil
	}
	now, err := s.agentDevice(ctx, r.TLS) // somebody may have decided before the manager knew of the channel
	if err != nil {
		conn.Close(websocket.StatusPolicyViolation, "")
		return nil
	}
	if now.State != d.State {
		s.config.Manager.StateChanged(d.ID, now.State)
	}
	joined = true
	return l
}

// keepChannel carries an agent's messages until the channel or ctx ends.
func (s *Server) keepChannel(ctx context.Context, l *line) {
	defer l.end()
	defer func() { // nobody else would catch it: the request is over
		if v := recover(); v != nil {
			s.counts.faults.Add(1)
			s.log.ErrorContext(ctx, "request_failed", "agent", l.device, "addr", l.addr, "path", wire.PathChannel, "err", fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
		}
	}()
	if err := pumpChannel(ctx, l.conn, l.channel); err != nil && ctx.Err() == nil {
		s.log.InfoContext(ctx, "agent_cut", "agent", l.device, "addr", l.addr, "err", err)
	}
}

// readHello reads an agent's first message.
func readHello(ctx context.Context, conn *websocket.Conn) (wire.Hello, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	msg, err := readAgent(ctx, conn)
	if err != nil {
		return wire.Hello{}, fmt.Errorf("read the hello: %w", err)
	}
	if msg.Hello == nil {
		return wire.Hello{}, errors.New("the first message is not a hello")
	}
	return *msg.Hello, nil
}

// pumpChannel carries messages both ways until one side has enough. It returns when
// nothing of it runs any more, with the reason if there is one.
func pumpChannel(ctx context.Context, conn *websocket.Conn, channel *tunnel.Channel) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer startPulse(ctx, conn, wire.Heartbeat, cancel).stop()
	defer cancel(nil)
	work.Go(func() { cancel(sendChannel(ctx, conn, channel.Outgoing())) })
	limit := rate.NewLimiter(agentMessages, agentBurst)
	for {
		msg, err := readAgent(ctx, conn)
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
		if !limit.Allow() {
			err = errors.New("the agent sends too many messages")
		} else {
			err = channel.Receive(ctx, msg)
		}
		if err != nil {
			conn.Close(websocket.StatusPolicyViolation, "")
			return err
		}
	}
}

// sendChannel sends what the manager has for the agent. When there will be no more it
// says goodbye, which ends the connection.
func sendChannel(ctx context.Context, conn *websocket.Conn, outgoing <-chan wire.FromEngine) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case msg, more := <-outgoing:
			if !more {
				conn.Close(websocket.StatusNormalClosure, "")
				return errors.New("the manager ended the channel")
			}
			body, err := msg.Encode()
			if err != nil {
				return fmt.Errorf("encode a message: %w", err)
			}
			if err := writeMessage(ctx, conn, websocket.MessageText, body); err != nil {
				return err
			}
		}
	}
}

func readAgent(ctx context.Context, conn *websocket.Conn) (wire.FromAgent, error) {
	kind, body, err := conn.Read(ctx)
	if err != nil {
		return wire.FromAgent{}, err
	}
	if kind != websocket.MessageText {
		return wire.FromAgent{}, errors.New("a message that is not text")
	}
	return wire.DecodeFromAgent(body)
}

// writeMessage sends one message. A peer that does not take it in time is cut.
func writeMessage(ctx context.Context, conn *websocket.Conn, kind websocket.MessageType, body []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	writing, cancel := lasting(ctx, writeTimeout)
	defer cancel()
	return conn.Write(writing, kind, body)
}

// lasting returns a context for something that is written. It ends after a time, or a
// moment after ctx does: a connection whose write is broken off cannot say goodbye.
func lasting(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(closeGrace, cancel) })
	return writing, func() { stop(); cancel() }
}
