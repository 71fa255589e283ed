// Package handlers serves everything that an engine says over HTTPS: the console, its API, its terminals, and the agents' channel.
package handlers

import (
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"borealis/agent/release"
	"borealis/agent/wire"
	"borealis/handlers/access"
	"borealis/handlers/factor"
	"borealis/handlers/oidc"
	"borealis/static/downloads"
	"borealis/store"
	"borealis/tunnel"
	"borealis/tunnel/keys"
	"borealis/tunnel/keys/seal"

	"github.com/go-chi/chi/v5"
)

// Limits of the HTTP server as a whole.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute // of a connection between two requests
	maxHeader     = 16 << 10        // bytes of a request's header
)

// Config is what a [Server] needs. Store, Manager and Keys are required.
type Config struct {
	Store   *store.Store
	Manager *tunnel.Manager
	Keys    *keys.Engine
	// Hosts are the names and addresses, without port, that browsers may call the
	// console by. Empty means localhost, 127.0.0.1, ::1 and the host's own name.
	Hosts []string
	// PublicAddress tells the HOST:PORT that agents dial; it is put into enrolment
	// codes. It is called each time a code is made, because the port may not be known
	// before. Nil means the first of Hosts with port 443.
	PublicAddress func() string
	Version       string
	// TrustedProxies are the addresses of reverse proxies that stand in front of the
	// console. Their X-Forwarded-For is believed, and nobody else's. Empty: no proxy is.
	TrustedProxies []netip.Prefix
	// StepUp is when operators have to prove a second factor for terminals: "never",
	// "session" (once in the session's life) or "shell" (for each new terminal). Empty is "session".
	StepUp string
	// Box encrypts the secrets of one-time codes at rest. Nil means that nobody can set
	// up one-time codes.
	Box *seal.Box
	// OIDC is the identity provider that operators may sign in at. Nil is none.
	OIDC *oidc.Config
	// Checkpoints is the file that the audit trail's signer keeps, for verifying it. Empty: only those in the database are looked at.
	Checkpoints string
	// Downloads are the agents that the engine hands out. Nil means the ones that the
	// program was built with.
	Downloads *downloads.Set
	// Publisher is whose signed releases of the agent devices are offered. Nil means the one
	// that the program was built for.
	Publisher ed25519.PublicKey
	// Drivers are what the engine keeps for the agents on Windows. Nil is none.
	Drivers *downloads.Drivers
	// Demo says so on the pages' version.
	Demo bool
	// Logger gets failed requests and attacks. Nil is silent.
	Logger *slog.Logger
}

// A Server answers browsers, API clients and agents. It is safe for concurrent use.
type Server struct {
	config  Config
	log     *slog.Logger
	hosts   map[string]bool
	carried carriedRelease
	streams streams
	access  enforcer
	door    door

	turnstile turnstile
	tickets   *tickets
	undos     undos
	counts    counters
	ready     readiness
	audits    auditing

	refusals refusals // records that strangers cause

	passwords  *factor.Passwords
	signIns    *signIns
	sources    *throttle // failed proofs of who somebody is, by address
	names      *throttle // the same by name
	tokens     *throttle // unknown API tokens by address
	enrolments *throttle // wrong enrolment codes by address
	wrongCodes *budget   // wrong enrolment codes altogether

	downloads      *crowd // by source
	agentDownloads *crowd // by device

	needs    map[string]access.Right // what each route asks for, by method and pattern
	mux      *chi.Mux                // the operators' routes
	operator http.Handler
	agent    http.Handler
	enrol    http.Handler
}

// New returns a server that the caller closes.
func New(c Config) (*Server, error) {
	if c.Store == nil || c.Manager == nil || c.Keys == nil {
		return nil, errors.New("handlers need a store, a tunnel manager and keys")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if len(c.Hosts) == 0 {
		c.Hosts = []string{"localhost", "127.0.0.1", "::1"}
		if name, err := os.Hostname(); err == nil {
			c.Hosts = append(c.Hosts, name)
		}
	}
	if c.Downloads == nil {
		c.Downloads = downloads.Embedded()
	}
	if c.Publisher == nil {
		c.Publisher, _ = release.Publisher()
	}
	if c.PublicAddress == nil {
		address := net.JoinHostPort(c.Hosts[0], "443")
		c.PublicAddress = func() string { return address }
	}
	s := &Server{
		config: c, log: c.Logger, hosts: make(map[string]bool), turnstile: newTurnstile(), tickets: newTickets(), passwords: factor.NewPasswords(),
		sources:    newThrottle(sourceBurst),
		names:      newThrottle(nameBurst),
		tokens:     newThrottle(nameBurst),
		enrolments: newThrottle(sourceBurst),
		wrongCodes: newBudget(wrongCodesPerHour),

		downloads:      newCrowd(maxDownloads, maxSourceDownloads),
		agentDownloads: newCrowd(maxAgentDownloads, maxDeviceDownloads),
	}
	s.refusals.summary = s.recordMoreRefusals
	s.carried = c.readRelease()
	var err error
	if s.signIns, err = newSignIns(c); err != nil {
		return nil, err
	}
	for _, h := range c.Hosts {
		s.hosts[canonicalHost(h)] = true
	}
	table := s.table()
	s.needs = needs(table)
	s.mux = s.routes(table)
	s.door.log = s.log
	s.operator = s.defend(s.mux)
	s.agent = s.agentRoutes()
	s.enrol = s.enrolRoutes()
	s.startEnforcing()
	return s, nil
}

// Handler answers every request by what the client asked for in its TLS handshake:
// an agent's connection reaches the agents' routes only, and a browser's the
// operators' only, whatever their Host headers say.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := visitorOf(r.Context())
		from.asks()
		switch personality(r) {
		case wire.ServerName:
			from.known() // its device's key was proven in the handshake
			s.counts.agents.Add(1)
			s.agent.ServeHTTP(w, r)
		case wire.EnrolServerName:
			s.counts.enrolments.Add(1)
			s.enrol.ServeHTTP(w, r)
		default:
			s.counts.operators.Add(1)
			s.operator.ServeHTTP(w, r)
		}
	})
}

// HTTPServer returns a server that is ready for ServeTLS(listener, "", "") on what
// [Server.Listener] returns. Whoever stops it calls [Server.Close] first, which ends the
// streams that would keep Shutdown waiting.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           s.Handler(),
		TLSConfig:         s.TLSConfig(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       withVisitor,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// Close ends every event stream, terminal socket and agent channel and returns when
// they are gone. New ones are refused. It is safe to call twice.
func (s *Server) Close() {
	s.stopEnforcing()
	s.streams.close()
	s.refusals.close()
}

// personality is whom the client asked for in its TLS handshake; "" for the console.
func personality(r *http.Request) string {
	if r.TLS == nil {
		return ""
	}
	name, _ := wire.ParseServerName(r.TLS.ServerName)
	return name
}
