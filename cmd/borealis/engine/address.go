package engine

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// listenGrace is how long an address may be in use by what a killed engine left: a child
// that it was about to start holds the socket for a moment longer.
const listenGrace = time.Second

// listen listens on a TCP address.
func listen(ctx context.Context, address string) (net.Listener, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for giveUp := time.After(listenGrace); ; {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
		select {
		case <-tick.C:
		case <-giveUp:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Addr is the address where browsers and agents are served.
func (e *Engine) Addr() net.Addr { return e.listener.Addr() }

// Port is the TCP port of that address.
func (e *Engine) Port() int { return e.listener.Addr().(*net.TCPAddr).Port }

// host is the name or address that people and agents use for this engine.
func (e *Engine) host() string {
	if h := e.config.PublicEndpoint; h != "" {
		if name, _, err := net.SplitHostPort(h); err == nil {
			return name
		}
		return h
	}
	if ip := e.listener.Addr().(*net.TCPAddr).IP; !ip.IsUnspecified() {
		return ip.String()
	}
	if name, err := os.Hostname(); err == nil {
		return name
	}
	return "localhost"
}

// AgentAddress is the HOST:PORT that agents dial.
func (e *Engine) AgentAddress() string { return net.JoinHostPort(e.host(), strconv.Itoa(e.Port())) }

// URL is where the console is, for people.
func (e *Engine) URL() string { return "https://" + e.AgentAddress() }

// names are what browsers may call this engine, and what a self-signed web certificate
// is made for.
func (e *Engine) names() []string {
	hosts := append([]string{"localhost", "127.0.0.1", "::1", e.host()}, e.config.Hosts...)
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}
