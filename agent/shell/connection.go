package shell

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// serveConn serves one connection until it or ctx ends, and then ends its sessions.
func (s *server) serveConn(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		s.log.Warn("shell connection refused", "addr", conn.RemoteAddr(), "err", err)
		return
	}
	client, channels, requests, err := ssh.NewServerConn(conn, s.ssh)
	if errors.Is(err, io.EOF) {
		return // the engine only asked whether somebody answers
	}
	if err != nil {
		s.log.Warn("shell connection refused", "addr", conn.RemoteAddr(), "err", err)
		return
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		conn.Close() // the channels below end at once
	}

	var running sync.WaitGroup
	running.Go(func() { ssh.DiscardRequests(requests) })
	for channel := range channels {
		s.admit(&running, client, channel)
	}
	running.Wait()
	_ = client.Wait() // how the connection ended is no news: its sessions have said why they did
}

// admit starts a session on the channel, or refuses it.
func (s *server) admit(running *sync.WaitGroup, client *ssh.ServerConn, channel ssh.NewChannel) {
	refuse := func(why ssh.RejectionReason, text string) {
		s.log.Warn("shell session refused", "addr", client.RemoteAddr(), "reason", text)
		_ = channel.Reject(why, text) // a connection that cannot carry the refusal is ending
	}
	if channel.ChannelType() != "session" {
		refuse(ssh.UnknownChannelType, "only sessions here")
		return
	}
	select {
	case s.sessions <- struct{}{}:
	default:
		refuse(ssh.ResourceShortage, "too many sessions")
		return
	}
	stream, requests, err := channel.Accept()
	if err != nil {
		<-s.sessions
		return
	}
	running.Go(func() {
		defer func() { <-s.sessions }()
		newSession(s, stream, s.log.With("addr", client.RemoteAddr())).serve(requests)
	})
}
