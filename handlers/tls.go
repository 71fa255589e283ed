package handlers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/keys"
)

const pinLookup = 5 * time.Second // for reading an agent's row during its handshake

// TLSConfig returns the TLS side of the engine's one port. By the name that a client
// asks for, it meets one of three: agents get the identity certificate that they have
// pinned and must show a certificate whose key is that of an enrolled device; devices
// that enrol get the same but may show any key; everybody else gets the web certificate.
func (s *Server) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{s.config.Keys.Web},
		NextProtos:   []string{"h2", "http/1.1"},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			ctx, from := hello.Context(), hello.Conn.RemoteAddr().String()
			personality, _ := wire.ParseServerName(hello.ServerName)
			if personality != "" {
				if err := s.door.admitAgent(from); err != nil {
					return nil, err
				}
				leave, err := s.turnstile.enter(ctx)
				if err != nil {
					return nil, err
				}
				visitorOn(hello.Conn).passes(leave)
			}
			switch personality {
			case wire.ServerName:
				return s.identityTLS(hello.ServerName, func(state tls.ConnectionState) error {
					_, err := s.agentDevice(ctx, &state)
					return s.refusedAgent(ctx, from, err)
				}), nil
			case wire.EnrolServerName:
				return s.identityTLS(hello.ServerName, func(state tls.ConnectionState) error {
					_, err := agentKey(&state)
					return s.refusedAgent(ctx, from, err)
				}), nil
			}
			return nil, nil // this one
		},
	}
}

// identityTLS is the side that agents see. Sessions are never resumed, so verify
// runs in every handshake.
func (s *Server) identityTLS(serverName string, verify func(tls.ConnectionState) error) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{s.identity(serverName).TLS()},
		NextProtos:             []string{"http/1.1"}, // WebSockets
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		VerifyConnection:       verify,
	}
}

// identity is the one of the engine's identities that is shown to who asks for a
// server name.
func (s *Server) identity(serverName string) *keys.Identity {
	_, prefix := wire.ParseServerName(serverName)
	return s.config.Keys.ByPrefix(prefix)
}

// refusedAgent notes why a handshake is refused, which the other side is not told.
// Anybody can make this line, so it is no more than a debug one.
func (s *Server) refusedAgent(ctx context.Context, from string, err error) error {
	if err != nil {
		s.log.DebugContext(ctx, "agent_refused", "addr", from, "err", err)
	}
	return err
}

// agentKey is the pin of the key that the other side of a connection has proven to hold.
func agentKey(state *tls.ConnectionState) (keys.Pin, error) {
	if state == nil {
		return keys.Pin{}, errors.New("the connection is not TLS")
	}
	public, err := keys.Peer(*state)
	if err != nil {
		return keys.Pin{}, err
	}
	return keys.PinOf(public), nil
}

// agentDevice is the device whose key the other side of a connection holds. Its row
// is the authority: a device that is not enrolled, or not trusted any more, is an error.
func (s *Server) agentDevice(ctx context.Context, state *tls.ConnectionState) (store.Device, error) {
	pin, err := agentKey(state)
	if err != nil {
		return store.Device{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, pinLookup)
	defer cancel()
	d, err := s.config.Store.DeviceByPin(ctx, pin.String())
	if err != nil {
		return store.Device{}, fmt.Errorf("look up the agent: %w", err)
	}
	if d.State != store.Active && d.State != store.Pending {
		return store.Device{}, refuse(codeRevoked, "Device %s is %s.", d.ID, d.State)
	}
	return d, nil
}
