package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"borealis/tunnel/keys"
)

// A PinError says that whoever answered at the engine's address is not the engine
// that was asked for: something in between ends TLS, the address is wrong, or the
// engine lost its identity key.
type PinError struct {
	Address   string
	Want, Got keys.Pin
}

// Error names both pins, so that they can be compared with the engine's own.
func (e *PinError) Error() string {
	return fmt.Sprintf("%s is not the expected engine: it shows the pin %s, but %s is expected. "+
		"Nothing was sent to it. Check the address, look for a proxy that ends TLS on the way, or get a new enrolment code",
		e.Address, e.Got, e.Want)
}

// pinned returns the client's side of every TLS connection to an engine. It is
// the one place where the engine is authenticated: the usual verification is off
// because the identity certificate names no host and no authority signed it, and
// VerifyConnection demands the pinned key instead, in each handshake.
func pinned(serverName, address string, id *keys.Identity, engine keys.Pin) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		ServerName:             serverName,
		Certificates:           []tls.Certificate{id.TLS()},
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, //nolint:gosec // VerifyConnection pins the key.
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return errors.New("engine shows no certificate")
			}
			if got := keys.PinOfCertificate(cs.PeerCertificates[0]); got != engine {
				return &PinError{Address: address, Want: engine, Got: got}
			}
			_, err := keys.Peer(cs)
			return err
		},
	}
}

// dialTLS connects to the pinned engine. The caller closes the connection.
func dialTLS(ctx context.Context, serverName, address string, id *keys.Identity, engine keys.Pin) (*tls.Conn, error) {
	d := tls.Dialer{NetDialer: new(net.Dialer), Config: pinned(serverName, address, id, engine)}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("reach the engine: %w", understood(err))
	}
	return conn.(*tls.Conn), nil
}

// understood says in words what an alert of the engine's TLS means. In TLS 1.3
// the client hears that its certificate was refused only with its first read.
func understood(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" && strings.Contains(op.Err.Error(), "certificate") {
		return fmt.Errorf("the engine refuses this device's identity: it does not know it, or revoked it: %w", err)
	}
	return err
}
