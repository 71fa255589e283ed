package engine

import (
	"log/slog"
	"net/netip"
	"time"

	"borealis/handlers/oidc"
	"borealis/tunnel/wg"
)

// Config is what "serve" and "demo" can set. Data, Listen, Link and Logger are needed.
type Config struct {
	Data           Root           // was made by [Init], and is held by the caller
	Listen         string         // TCP address for browsers and agents
	UDPPort        int            // of WireGuard; 0: any
	PublicEndpoint string         // HOST[:PORT] that agents send WireGuard packets to; "": the host that they dialled
	AlsoAt         []string       // HOST:PORT where agents reach this engine too, now or soon
	Link           wg.Mode        // what WireGuard stands on
	LinkName       string         // of its interface, on a link that has one
	Pool           netip.Prefix   // that devices get their address from; zero: [tunnel.DefaultPool]
	HostUsers      bool           // every user of this host may reach the allowed ports
	Idle           time.Duration  // of operators, after which a tunnel ends; zero: [tunnel.DefaultIdle]
	MaxDuration    time.Duration  // of a tunnel; zero: [tunnel.DefaultMaxDuration]
	TLSCert        string         // file with the web certificate; "": it signs its own
	TLSKey         string         // file with that certificate's key
	Hosts          []string       // names that browsers may use besides its own
	Demo           bool           // the console says that it is one
	Seal           Seal           // where the key to the engine's secrets is
	StepUp         string         // when a new terminal takes a second factor: never, session or shell; "": session
	Proxies        []netip.Prefix // whose X-Forwarded-For is believed
	OIDC           *oidc.Config   // an identity provider; nil: there is none
	Syslog         Syslog         // where the audit trail goes besides
	Metrics        string         // address of the admin listener, see [CheckMetrics]; "": there is none
	Logger         *slog.Logger
}

// Syslog says where the audit trail is sent as it grows. The zero value sends it nowhere.
type Syslog struct {
	Address string // HOST:PORT of a log server that takes RFC 5424 over TLS
	CA      string // file with the authorities that its certificate is checked by; "": the host's
	Cert    string // file with the certificate that the engine shows; "": none
	Key     string // file with that certificate's key
}
