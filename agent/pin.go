package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// A PinError says that whoever answered at the engine's address is not the engine
// that was asked for: something in between ends TLS, the address is wrong, or the
// engine has another identity by now and the agent slept too long to be told.
type PinError struct {
	Address   string
	Want, Got keys.Pin
	Issuer    string // Who issued the certificate that was shown; "" for one that signed itself, as engines' do.
}

// Error names both pins, so that they can be compared with the engine's own.
func (e *PinError) Error() string {
	if e.Issuer != "" {
		return fmt.Sprintf("%s is not the expected engine: it shows a certificate that %q issued, with the pin %s, but %s is expected. "+
			"Nothing was sent to it. A proxy or a virus scanner ends TLS on the way: let it pass connections to the engine through unchanged",
			e.Address, e.Issuer, e.Got, e.Want)
	}
	return fmt.Sprintf("%s is not the expected engine: it shows the pin %s, but %s is expected. "+
		"Nothing was sent to it. Check the address and look for a proxy that ends TLS on the way. If the engine's identity was "+
		"rotated and this agent was away for the %d days after it, compare the pin with the console and get a new enrolment code",
		e.Address, e.Got, e.Want, keys.Overlap/(24*time.Hour))
}

// pinned returns the client's side of every TLS connection to an engine. It is
// the one place where the engine is authenticated: the usual verification is off
// because the identity certificate names no host and no authority signed it, and
// VerifyConnection demands a pinned key instead, in each handshake. Of several the
// first is asked for.
func pinned(personality, address string, id *keys.Identity, engine []keys.Pin) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		ServerName:             wire.ServerNameFor(personality, engine[0]),
		Certificates:           []tls.Certificate{id.TLS()},
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, //nolint:gosec // VerifyConnection pins the key.
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return errors.New("engine shows no certificate")
			}
			shown := cs.PeerCertificates[0]
			if got := keys.PinOfCertificate(shown); !slices.Contains(engine, got) {
				return &PinError{Address: address, Want: engine[0], Got: got, Issuer: issuer(shown)}
			}
			_, err := keys.Peer(cs)
			return err
		},
	}
}

// issuer names who issued a certificate, or is "" for one that signed itself.
func issuer(c *x509.Certificate) string {
	if bytes.Equal(c.RawIssuer, c.RawSubject) {
		return ""
	}
	name := c.Issuer.CommonName
	if name == "" {
		name = c.Issuer.String()
	}
	return clean(name, maxName)
}

// dialTLS connects to the engine by one of its pins, and asks for the first. The
// caller closes the connection.
func dialTLS(ctx context.Context, personality, address string, id *keys.Identity, engine []keys.Pin) (*tls.Conn, error) {
	d := tls.Dialer{NetDialer: new(net.Dialer), Config: pinned(personality, address, id, engine)}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("reach the engine: %w", understood(err))
	}
	return conn.(*tls.Conn), nil
}

// ErrNotTaken is returned when the engine answers and does not take this device for one of its own.
var ErrNotTaken = errors.New("the engine refuses this device's identity: it does not know it, set it aside or revoked it")

// understood says in words what it means that a connection failed. In TLS 1.3
// the client hears that its certificate was refused only with its first read.
func understood(err error) error {
	op, network := errors.AsType[*net.OpError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case network && op.Op == "dial":
		return fmt.Errorf("nothing answers: is the address right, does the engine run, and does every firewall on the way let TCP through to it? %w", err)
	case network && op.Op == "remote error" && strings.Contains(op.Err.Error(), "certificate"):
		return fmt.Errorf("%w: %w", ErrNotTaken, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer came in time: does a firewall or a proxy on the way take the connection and let nothing through? %w", err)
	case plain || strings.Contains(err.Error(), "protocol version"):
		return fmt.Errorf("what answers does not speak TLS 1.3, as every engine does: is the port right, and is a proxy on the way? %w", err)
	}
	return err
}
