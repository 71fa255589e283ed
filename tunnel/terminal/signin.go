package terminal

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"net"
	"runtime"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
)

// user is the name that the device's shell server expects; the key is what counts.
const user = "borealis"

// signIn makes an SSH connection of c.Conn. It closes c.Conn when it fails.
func signIn(ctx context.Context, c Config) (ssh.Conn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	config, err := clientConfig(c.HostKey, c.ClientKey)
	if err != nil {
		c.Conn.Close()
		return nil, nil, nil, err
	}
	defer context.AfterFunc(ctx, func() { c.Conn.Close() })()
	conn, channels, globals, err := ssh.NewClientConn(c.Conn, "", config)
	if err == nil {
		return conn, channels, globals, nil
	}
	c.Conn.Close()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, nil, nil, fmt.Errorf("sign in to shell: %w", err)
}

// clientConfig trusts one host key, and picks what is quick: the tunnel below is WireGuard with a
// pre-shared key, so nothing is gained by a post-quantum exchange here.
func clientConfig(hostKey keys.Pin, clientKey ed25519.PrivateKey) (*ssh.ClientConfig, error) {
	if len(clientKey) != ed25519.PrivateKeySize {
		return nil, errors.New("sign in to shell: no client key")
	}
	signer, err := ssh.NewSignerFromKey(clientKey)
	if err != nil {
		return nil, fmt.Errorf("use client key: %w", err)
	}
	return &ssh.ClientConfig{
		Config: ssh.Config{
			KeyExchanges: []string{ssh.KeyExchangeCurve25519},
			Ciphers:      ciphers(),
		},
		User:              user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		ClientVersion:     "SSH-2.0-Borealis",
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			if k, ok := key.(ssh.CryptoPublicKey); ok {
				if public, ok := k.CryptoPublicKey().(ed25519.PublicKey); ok && keys.PinOf(public) == hostKey {
					return nil
				}
			}
			return ErrHostKey
		},
	}, nil
}

// ciphers puts first what this machine does fastest.
func ciphers() []string {
	c := []string{ssh.CipherAES128GCM, ssh.CipherChaCha20Poly1305}
	hardware := cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL
	if !hardware && (runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64") {
		slices.Reverse(c)
	}
	return c
}

// start opens the session's channel and asks for the shell. The requests want no reply, so that they
// cost one round trip together: a device that cannot start the shell says so on the terminal.
func (t *Terminal) start(ctx context.Context, c Config) (<-chan *ssh.Request, error) {
	defer context.AfterFunc(ctx, func() { t.conn.Close() })()
	asked := time.Now()
	channel, requests, err := t.conn.OpenChannel("session", nil)
	if refused, ok := errors.AsType[*ssh.OpenChannelError](err); ok && refused.Reason == ssh.ResourceShortage {
		return nil, ErrFull
	}
	if err != nil {
		return nil, t.because(ctx, err)
	}
	t.trip = time.Since(asked)
	t.channel = channel

	type request struct {
		name    string
		payload []byte
	}
	size := windowSize(t.cols, t.rows)
	wanted := []request{{"pty-req", ssh.Marshal(struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}{"xterm-256color", size.Cols, size.Rows, 0, 0, "\x00"})}} // the modes are an end mark: as the device likes
	variable := func(name, value string) {
		wanted = append(wanted, request{"env", ssh.Marshal(struct{ Name, Value string }{name, value})})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		variable(name, c.Env[name])
	}
	if c.Shell != "" {
		variable(wire.ShellVariable, c.Shell)
	}
	for _, r := range append(wanted, request{"shell", nil}) {
		if _, err := channel.SendRequest(r.name, false, r.payload); err != nil {
			return nil, t.because(ctx, err)
		}
	}
	return requests, nil
}

// because wraps an error of start: when ctx ended, that is why.
func (t *Terminal) because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("open shell: %w", err)
}

// cells is a terminal's size on the wire; the sizes in pixels stay zero.
type cells struct{ Cols, Rows, Width, Height uint32 }

// windowSize returns a clamped size as SSH has it.
func windowSize(cols, rows int) cells {
	return cells{Cols: uint32(cols), Rows: uint32(rows)} //nolint:gosec // clamped
}

// refuse turns down channels that the device would open: it has nothing to open here.
func refuse(channels <-chan ssh.NewChannel) {
	for c := range channels {
		_ = c.Reject(ssh.Prohibited, "no") // a connection that cannot carry the refusal is ending
	}
}
