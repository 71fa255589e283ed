package main

import (
	"flag"
	"fmt"
	"path/filepath"

	"borealis/store/audit"
)

// syslogFlags say where the audit trail is sent as it grows.
type syslogFlags struct{ address, ca, cert, key string }

// syslogOptions adds the flags.
func syslogOptions(f *flag.FlagSet, s *syslogFlags) {
	f.StringVar(&s.address, "syslog", "", "`HOST:PORT` of a log server that gets the audit trail as RFC 5424 over TLS; 6514 is the usual port")
	f.StringVar(&s.ca, "syslog-ca", "", "`FILE` with the authorities that the log server's certificate is checked by; empty means the host's")
	f.StringVar(&s.cert, "syslog-cert", "", "`FILE` with the certificate that the engine shows to the log server")
	f.StringVar(&s.key, "syslog-key", "", "`FILE` with that certificate's key")
}

// forwarder makes what sends the trail of an engine away.
func (s syslogFlags) forwarder(e *engine) (*audit.Forwarder, error) {
	tls, err := audit.SyslogTLS(s.ca, s.cert, s.key)
	if err != nil {
		return nil, &usageError{fmt.Sprintf("--syslog: %v", err)}
	}
	forwarder, err := audit.NewForwarder(audit.ForwarderConfig{
		Store: e.store, Address: s.address, TLS: tls, Logger: e.config.log,
		Cursor: filepath.Join(string(e.config.data), "Engine", "syslog_cursor"),
	})
	if err != nil {
		return nil, &usageError{fmt.Sprintf("--syslog: %v", err)}
	}
	return forwarder, nil
}
