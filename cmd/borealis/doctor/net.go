package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"borealis/agent/checkup"
	"borealis/agent/wire"
	"borealis/tunnel/keys"
	"borealis/tunnel/wg"
)

const soon = 14 * 24 * time.Hour // before the end of a certificate

// name looks whether the name that agents dial leads anywhere.
func (d *doctor) name(ctx context.Context) checkup.Finding {
	const name = "name"
	host, _ := d.publicHost()
	if host == "" {
		return note(name, "", "not known yet: the engine has not served, or the database is not open")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.IsLoopback() {
			return note(name, "agents on other machines need --public-endpoint HOST", "agents dial %s, which only this machine reaches", ip)
		}
		return checkup.Well(name, "agents dial the address %s, which needs no name server", ip)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return unwell(name, "add a DNS record for it, or set --public-endpoint to a name or an address that agents can find", "the name that agents dial does not lead anywhere: %w", err)
	}
	var all []string
	for _, ip := range found {
		all = append(all, ip.Unmap().String())
	}
	return checkup.Well(name, "agents dial %s, which is %s", host, strings.Join(all, ", "))
}

// stopped is a finding of what cannot be looked at without an engine, or without knowing
// where it listens.
func (d *doctor) stopped(name string) (checkup.Finding, bool) {
	switch {
	case d.local() == "":
		return note(name, "name it with --listen", "not looked at: the engine's address is not known"), true
	case !d.held && d.Listen == "" && d.store != nil:
		return note(name, "", "not looked at: no engine runs"), true
	}
	return checkup.Finding{}, false
}

// tcp dials the engine on this host.
func (d *doctor) tcp(ctx context.Context) checkup.Finding {
	const name = "TCP"
	if f, stop := d.stopped(name); stop {
		return f
	}
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(ctx, "tcp", d.local())
	if err != nil {
		return unwell(name, "does the engine run, and listen there? name its address with --listen", "nobody answers at %s: %w", d.local(), err)
	}
	conn.Close()
	return checkup.Well(name, "%s answers", d.local())
}

// hello makes a TLS connection and returns what the engine showed.
func (d *doctor) hello(ctx context.Context, config *tls.Config) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", d.local())
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState(), nil
}

// webCertificate looks at what browsers see.
func (d *doctor) webCertificate(ctx context.Context) checkup.Finding {
	const name = "web certificate"
	if f, stop := d.stopped(name); stop {
		return f
	}
	host, _ := d.publicHost()
	server := host
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		server = "localhost"
	}
	state, err := d.hello(ctx, &tls.Config{ServerName: server, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}) //nolint:gosec // it is looked at, not trusted
	if err != nil {
		return unwell(name, "the engine's log says more: look for TLS", "no TLS connection comes about: %w", err)
	}
	return judgeCertificate(name, state.PeerCertificates[0], host, time.Now())
}

// judgeCertificate looks at the dates and names of a web certificate.
func judgeCertificate(name string, cert *x509.Certificate, host string, now time.Time) checkup.Finding {
	const renew = "renew it, and name the files with --tls-cert and --tls-key; without them, remove web.key and web.crt below Engine/Certificates and start the engine again"
	until := cert.NotAfter.UTC().Format(time.DateOnly)
	switch {
	case now.Before(cert.NotBefore):
		return unwell(name, "set this host's clock, or look at the certificate", "it holds only from %s on", cert.NotBefore.UTC().Format(time.RFC3339))
	case now.After(cert.NotAfter):
		return unwell(name, renew, "it ended on %s", until)
	case cert.NotAfter.Sub(now) < soon:
		return unwell(name, renew, "it ends on %s", until)
	case host != "" && cert.VerifyHostname(host) != nil:
		return note(name, "get one for that name; agents do not look at it, browsers do", "it holds until %s, but not for %s", until, host)
	case cert.Issuer.String() == cert.Subject.String():
		return note(name, "browsers ask before they go on; name a certificate that they trust with --tls-cert and --tls-key", "it signed itself, and holds until %s", until)
	}
	return checkup.Well(name, "issued by %s, holds until %s", cert.Issuer.CommonName, until)
}

// agentsSide asks for the identity that agents pin, as an agent that enrols does.
func (d *doctor) agentsSide(ctx context.Context) checkup.Finding {
	const name = "TLS for agents"
	if f, stop := d.stopped(name); stop {
		return f
	}
	if d.pin.IsZero() {
		return unknown(name)
	}
	own, err := keys.NewIdentity("borealis doctor")
	if err != nil {
		return judged(name, err, "")
	}
	state, err := d.hello(ctx, &tls.Config{
		ServerName: wire.ServerNameFor(wire.EnrolServerName, d.pin), MinVersion: tls.VersionTLS13,
		Certificates: []tls.Certificate{own.TLS()}, NextProtos: []string{"http/1.1"},
		InsecureSkipVerify: true, //nolint:gosec // its pin is compared
	})
	if err != nil {
		return unwell(name, "does something between agents and engine end TLS? agents need it unchanged, with TLS 1.3", "no TLS connection comes about: %w", err)
	}
	if got := keys.PinOfCertificate(state.PeerCertificates[0]); got != d.pin {
		return unwell(name, "another engine, or a proxy that ends TLS, answers there: let agents reach the engine itself", "the pin is %s, but this engine's is %s", got, d.pin)
	}
	return checkup.Well(name, "the engine shows the identity that agents pin")
}

// publicAddress dials what agents dial, from here.
func (d *doctor) publicAddress(ctx context.Context) checkup.Finding {
	const name = "public address"
	if f, stop := d.stopped(name); stop {
		return f
	}
	if d.address == "" || d.address == d.local() {
		return note(name, "", "there is no other one than that of this host")
	}
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(ctx, "tcp", d.address)
	if err != nil { // a NAT does not always let one out and in again
		return note(name, "try it from a device: \"borealis-agent doctor\" there tells more", "%s cannot be reached from here: %v", d.address, err)
	}
	conn.Close()
	return checkup.Well(name, "%s answers, from here at least", d.address)
}

// udpPort looks who has the port of WireGuard.
func (d *doctor) udpPort(ctx context.Context) checkup.Finding {
	const name = "UDP port"
	c, err := new(net.ListenConfig).ListenPacket(ctx, "udp", fmt.Sprintf(":%d", d.UDPPort))
	if err == nil {
		err = c.Close()
	}
	switch taken := errors.Is(err, syscall.EADDRINUSE); {
	case err != nil && !taken:
		return judged(name, err, "")
	case taken && d.held:
		return checkup.Well(name, "%d is in use by %s; devices try it, out and back, with \"borealis-agent doctor\"", d.UDPPort, wg.PortHolder(d.UDPPort))
	case taken:
		return unwell(name, fmt.Sprintf("stop it, or choose another port with --udp-port; \"ss -ulpn sport = :%d\" shows it to root", d.UDPPort), "%d is used by %s, and no engine runs", d.UDPPort, wg.PortHolder(d.UDPPort))
	case d.held:
		return unwell(name, "the engine's log says why: look for \"link\"; if it has another port, name it with --udp-port", "nobody listens on %d, though an engine runs", d.UDPPort)
	}
	return checkup.Well(name, "%d is free", d.UDPPort)
}
