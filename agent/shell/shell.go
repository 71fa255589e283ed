// Package shell serves shells on pseudo terminals to the engine over SSH.
package shell

import (
	"context"
	"crypto/ed25519"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// User is the only name that the server knows; the key is what counts.
const User = "borealis"

const (
	maxSessions      = 16               // live sessions of a server
	maxConnections   = 32               // connections of a server, signed in or not
	handshakeTimeout = 10 * time.Second // from the first byte to signed in
)

// errWho is what a client hears that is not the engine.
var errWho = errors.New("unknown user or key")

// Config says who may open a shell, and which. HostKey and Client are required.
type Config struct {
	HostKey ed25519.PrivateKey // the agent's identity key; the engine has pinned it
	Client  ed25519.PublicKey  // the only key that may sign in
	Shell   string             // absolute path of the shell; "" is the platform's: the user's login shell, or Windows PowerShell
	Env     []string           // added to every shell's environment, as KEY=value
	AsUser  bool               // run every shell as the user signed in on the device, or not at all; Windows only, elsewhere no shell starts
	Logger  *slog.Logger       // nil is silent
}

// server is what all connections of one Serve share.
type server struct {
	ssh      *ssh.ServerConfig
	shell    string
	env      []string
	asUser   bool
	log      *slog.Logger
	sessions chan struct{} // a token for each live session
	callers  chan struct{} // a token for each connection
}

// Serve answers SSH on l until ctx ends or l fails, and closes l. It signs in the user [User] with
// the key Config.Client and nobody else. A connection's shells end with it. When Serve returns, all
// processes that its shells started are dead and all its goroutines gone; it returns nil when ctx
// has ended. On Linux a process that left both its session and its parent (a daemon) is out of reach.
func Serve(ctx context.Context, l net.Listener, c Config) error {
	defer l.Close()
	s, err := newServer(c)
	if err != nil {
		return err
	}
	defer heedInterrupts()()
	serving, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(serving, func() { l.Close() })()

	var connections sync.WaitGroup
	for {
		var conn net.Conn
		if conn, err = l.Accept(); err != nil {
			break
		}
		select {
		case s.callers <- struct{}{}:
			connections.Go(func() {
				defer func() { <-s.callers }()
				s.serveConn(serving, conn)
			})
		default:
			s.log.Warn("shell connection refused", "addr", conn.RemoteAddr(), "reason", "too many connections")
			conn.Close()
		}
	}
	cancel()
	connections.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("accept shell connection: %w", err)
}

// newServer checks the configuration and prepares what connections share.
func newServer(c Config) (*server, error) {
	if len(c.Client) != ed25519.PublicKeySize {
		return nil, errors.New("shell: no client key")
	}
	if len(c.HostKey) != ed25519.PrivateKeySize {
		return nil, errors.New("shell: no host key")
	}
	if c.Shell != "" && !filepath.IsAbs(c.Shell) {
		return nil, fmt.Errorf("shell %q: not an absolute path", c.Shell)
	}
	hostKey, err := ssh.NewSignerFromKey(c.HostKey)
	if err != nil {
		return nil, fmt.Errorf("use host key: %w", err)
	}
	client, err := ssh.NewPublicKey(c.Client)
	if err != nil {
		return nil, fmt.Errorf("use client key: %w", err)
	}
	s := &server{
		ssh:      sshConfig(client),
		shell:    c.Shell,
		env:      c.Env,
		asUser:   c.AsUser,
		log:      c.Logger,
		sessions: make(chan struct{}, maxSessions),
		callers:  make(chan struct{}, maxConnections),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ssh.AddHostKey(hostKey)
	return s, nil
}

// sshConfig admits one user with one key. The tunnel around SSH is WireGuard with a pre-shared key,
// so the exchange is the quickest good one rather than a post-quantum one.
func sshConfig(client ssh.PublicKey) *ssh.ServerConfig {
	want := client.Marshal()
	return &ssh.ServerConfig{
		Config: ssh.Config{
			KeyExchanges: []string{ssh.KeyExchangeCurve25519},
			Ciphers:      []string{ssh.CipherAES128GCM, ssh.CipherChaCha20Poly1305},
		},
		PublicKeyAuthAlgorithms: []string{ssh.KeyAlgoED25519},
		MaxAuthTries:            3,
		ServerVersion:           "SSH-2.0-Borealis",
		PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if c.User() != User || subtle.ConstantTimeCompare(key.Marshal(), want) != 1 {
				return nil, errWho
			}
			return nil, nil
		},
	}
}
