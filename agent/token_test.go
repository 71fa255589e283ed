//go:build linux

package agent_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
	"borealis/tunnel/token"
)

func TestBadTokensConfigureNothing(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	kid, _ := e.keys.TokenSigner()
	other, err := keys.NewIdentity("other")
	if err != nil {
		t.Fatal(err)
	}
	at := func(d time.Duration) func(*token.Claims) {
		return func(c *token.Claims) { c.IssuedAt = c.IssuedAt.Add(d) }
	}
	used := c.offer(t, "used")
	c.ready(t, used)
	c.send(t, wire.FromEngine{Stop: &wire.Stop{Tunnel: "used", Reason: "start_timeout"}})
	d.log.expect(t, "msg=tunnel_down", "tunnel=used")
	forOther := c.offer(t, "for-other")
	forOther.start.Tunnel = "not-for-other"
	unsigned := c.offer(t, "unsigned")
	unsigned.start.Token = strings.Replace(unsigned.start.Token, "v4.public.", "v4.local.", 1)
	noToken := c.offer(t, "no-token")
	noToken.start.Token = "none"

	tests := []struct {
		name  string
		offer offer
		says  string
	}{
		{"foreign signature", c.offerSigned(t, stranger, kid, "foreign"), "signature"},
		{"foreign signature and key id", c.offerSigned(t, stranger, "ffffffffffffffff", "foreign-kid"), "signature"},
		{"signed by the identity key", c.offerSigned(t, e.keys.Identity.Private(), kid, "identity"), "signature"},
		{"unsigned", unsigned, "not a tunnel token"},
		{"no token", noToken, "not a tunnel token"},
		{"expired", c.offer(t, "expired", at(-token.Lifetime-time.Second)), "expired"},
		{"early", c.offer(t, "early", at(token.Early+10*time.Second)), "not valid yet"},
		{"for another agent", c.offer(t, "agent", func(c *token.Claims) { c.Agent = other.Pin() }), "another agent"},
		{"of another engine", c.offer(t, "engine", func(c *token.Claims) { c.Engine = other.Pin() }), "another engine"},
		{"of another connection", c.offer(t, "nonce", func(c *token.Claims) { c.Nonce = "nonce" }), "another connection"},
		{"for another tunnel", forOther, "another tunnel"},
		{"used before", used, "used before"},
	}
	for _, tt := range tests {
		c.send(t, wire.FromEngine{Start: &tt.offer.start})
		m := c.next(t)
		if m.Refused == nil || m.Refused.Reason != wire.TokenRejected || m.Refused.Tunnel != tt.offer.start.Tunnel {
			t.Errorf("%s: the agent answers %+v, want token_rejected", tt.name, m)
			continue
		}
		if !strings.Contains(m.Refused.Detail, tt.says) {
			t.Errorf("%s: detail is %q, want %q in it", tt.name, m.Refused.Detail, tt.says)
		}
		line := d.log.expect(t, "msg=tunnel_refused", "tunnel="+tt.offer.start.Tunnel, "reason=token_rejected")
		if strings.Contains(line, tt.offer.start.Token) || strings.Contains(line, tt.offer.start.PresharedKey) {
			t.Errorf("%s: the log tells secrets: %s", tt.name, line)
		}
		if s := d.Status(); s.Tunnel != "" {
			t.Errorf("%s: tunnel %q is up", tt.name, s.Tunnel)
		}
	}
	if n := strings.Count(d.log.String(), "msg=tunnel_ready"); n != 1 {
		t.Errorf("%d interfaces were opened, want 1", n)
	}
	c.up(t, c.offer(t, "good")) // Nothing of it stands in the way.
}

func TestEngineTimeCountsNotTheDevices(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{-400 * 24 * time.Hour, 400 * 24 * time.Hour} {
		e := newEngine(t)
		e.ahead = ahead
		newDevice(t, e)
		c := e.channel(t)
		c.up(t, c.offer(t, "tunnel-1"))
	}
}

func TestTokenKeysMustBeVouchedFor(t *testing.T) {
	t.Parallel()
	e, stranger := newEngine(t), newEngine(t)
	foreign := stranger.keys.TokenKeys(stranger.keys.Identity)[0]
	e.welcome = func(w *wire.Welcome) { w.TokenKeys = append(w.TokenKeys, foreign) }
	d := newDevice(t, e)
	d.log.expect(t, "msg=agent_unreachable", "not signed by the engine's identity key")
	if s := d.Status(); s.Connected {
		t.Errorf("status is %+v, want not connected", s)
	}
}

func TestPortsOfTheTokenDecideAboutTheShell(t *testing.T) {
	t.Parallel()
	ports := map[string][]token.Port{
		"none":   {},
		"others": {{Protocol: "tcp", From: 3389, To: 3389}, {Protocol: "udp", From: wire.ShellPort, To: wire.ShellPort}},
	}
	e := newEngine(t)
	newDevice(t, e)
	c := e.channel(t)
	for name, list := range ports {
		o := c.offer(t, name, func(c *token.Claims) { c.Ports = list })
		c.up(t, o)
		if _, err := c.dialShell(t, o.shell); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("ports %s: dialling the shell: %v, want refused", name, err)
		}
		c.send(t, wire.FromEngine{Stop: &wire.Stop{Tunnel: name, Reason: "operator_left"}})
	}
	o := c.offer(t, "range", func(c *token.Claims) { c.Ports = []token.Port{{Protocol: "tcp", From: 1, To: 65535}} })
	c.up(t, o)
	if got := c.run(t, o, "echo in range"); got != "in range" {
		t.Errorf("the shell says %q", got)
	}
}

func TestShellWantsTheTokensKey(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	newDevice(t, e)
	c := e.channel(t)
	o := c.offer(t, "tunnel-1")
	c.up(t, o)
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]ed25519.PrivateKey{"a stranger's": stranger, "the engine's": e.keys.Identity.Private()} {
		if _, err := c.dialShell(t, key); err == nil {
			t.Errorf("%s key opens the shell", name)
		}
	}
	if got := c.run(t, o, "echo ours"); got != "ours" {
		t.Errorf("the shell says %q", got)
	}
}
