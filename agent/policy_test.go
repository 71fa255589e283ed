//go:build linux

package agent_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/agent/wire"
	"borealis/tunnel/keys"
	"borealis/tunnel/token"
)

// shellOnly is what the offers of these tests allow.
func shellOnly() []token.Port {
	return []token.Port{{Protocol: "tcp", From: wire.ShellPort, To: wire.ShellPort}}
}

// policy makes a policy for a tunnel that passes, after changes to it.
func (c *channel) policy(t *testing.T, tunnel string, revision int64, ports []token.Port, changes ...func(*token.Policy)) wire.FromEngine {
	t.Helper()
	kid, key := c.engine.keys.TokenSigner()
	return c.policySigned(t, key, kid, tunnel, revision, ports, changes...)
}

// policySigned makes a policy that somebody signs.
func (c *channel) policySigned(t *testing.T, key ed25519.PrivateKey, kid, tunnel string, revision int64, ports []token.Port, changes ...func(*token.Policy)) wire.FromEngine {
	t.Helper()
	p := token.Policy{
		Engine: c.identity.Pin(), Agent: c.agent.pin, Tunnel: tunnel, Revision: revision, Ports: ports,
	}
	for _, change := range changes {
		change(&p)
	}
	signed, err := token.SignPolicy(key, kid, p)
	if err != nil {
		t.Fatal(err)
	}
	return wire.FromEngine{Policy: &wire.Policy{Tunnel: tunnel, Policy: signed}}
}

// applied waits for the agent to say that it enforces a policy.
func (c *channel) applied(t *testing.T, tunnel string, revision int64) {
	t.Helper()
	want := wire.FromAgent{Applied: &wire.Applied{Tunnel: tunnel, Revision: revision}}
	if diff := cmp.Diff(want, c.next(t)); diff != "" {
		t.Fatalf("message (-want +got):\n%s", diff)
	}
}

// echo serves a port of the device, and returns it.
func echo(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				_, _ = io.Copy(c, c)
				c.Close()
			})
		}
	})
	t.Cleanup(func() { l.Close(); work.Wait() })
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// dial connects the engine to a port of the agent.
func (c *channel) dial(t *testing.T, port uint16) (net.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := c.engine.link.DialTCP(ctx, netip.AddrPortFrom(agentIP, port))
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

// refused fails the test unless a port refuses.
func (c *channel) refused(t *testing.T, when string, port uint16) {
	t.Helper()
	if _, err := c.dial(t, port); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%s port %d answers %v, want a refusal", when, port, err)
	}
}

// ping sends a byte to an echo and waits for it.
func ping(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write([]byte{42}); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

// TestPolicyOnALiveTunnel closes the shell under a session and opens it again, beside a
// flow that goes on.
func TestPolicyOnALiveTunnel(t *testing.T) {
	t.Parallel()
	at := echo(t)
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	o := c.offer(t, "tunnel-1")
	c.up(t, o)
	c.refused(t, "by the token", at)
	other := token.Port{Protocol: "tcp", From: at, To: at}
	c.send(t, c.policy(t, "tunnel-1", 1, append(shellOnly(), other)))
	c.applied(t, "tunnel-1", 1)
	beside, err := c.dial(t, at)
	if err != nil {
		t.Fatal(err)
	}
	for revision := int64(2); revision < 6; revision += 2 {
		pids, client := stubborn(t, c, o)
		c.send(t, c.policy(t, "tunnel-1", revision, []token.Port{other}))
		c.applied(t, "tunnel-1", revision)
		if err := client.Wait(); err == nil {
			t.Error("the shell's connection ends in order")
		}
		c.refused(t, "closed", wire.ShellPort)
		if err := ping(beside); err != nil {
			t.Errorf("the flow beside it: %v", err)
		}
		for _, pid := range pids {
			for limit := time.After(patience); alive(pid); {
				select {
				case <-limit:
					t.Fatalf("process %d of the shell lives on", pid)
				case <-time.After(time.Millisecond):
				}
			}
		}
		c.send(t, c.policy(t, "tunnel-1", revision+1, append(shellOnly(), other)))
		c.applied(t, "tunnel-1", revision+1)
		if got := c.run(t, o, "echo again"); got != "again" {
			t.Errorf("opened again, the shell says %q", got)
		}
	}
	c.send(t, c.policy(t, "tunnel-1", 9, nil))
	c.applied(t, "tunnel-1", 9)
	if err := ping(beside); err == nil {
		t.Error("with all closed the flow beside it goes on")
	}
	c.refused(t, "all closed,", at)
	d.log.expect(t, "msg=policy_applied", "tunnel=tunnel-1")
	if s := d.Status(); s.Tunnel != "tunnel-1" {
		t.Errorf("with all closed, status has tunnel %q", s.Tunnel)
	}
}

// TestPoliciesThatChangeNothing tries what an attacker could send, and what comes late.
func TestPoliciesThatChangeNothing(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	o := c.offer(t, "tunnel-1")
	c.up(t, o)
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := keys.NewIdentity("other")
	if err != nil {
		t.Fatal(err)
	}
	kid, _ := e.keys.TokenSigner()
	c.send(t, c.policy(t, "tunnel-1", 5, shellOnly()))
	c.applied(t, "tunnel-1", 5)

	// Each would close the shell.
	bent := c.policy(t, "tunnel-1", 10, nil)
	bent.Policy.Policy = bent.Policy.Policy[:40] + "A" + bent.Policy.Policy[41:]
	moved := c.policy(t, "tunnel-2", 10, nil)
	moved.Policy.Tunnel = "tunnel-1"
	asToken := wire.FromEngine{Policy: &wire.Policy{
		Tunnel: "tunnel-1", Policy: c.offer(t, "tunnel-1", func(c *token.Claims) { c.Ports = nil }).start.Token,
	}}
	none := wire.FromEngine{Policy: &wire.Policy{Tunnel: "tunnel-1", Policy: "none"}}
	for name, tt := range map[string]struct {
		m    wire.FromEngine
		says string
	}{
		"foreign signature":          {c.policySigned(t, stranger, kid, "tunnel-1", 10, nil), "signature"},
		"foreign key":                {c.policySigned(t, stranger, "ffffffffffffffff", "tunnel-1", 10, nil), "signature"},
		"signed by the identity key": {c.policySigned(t, e.keys.Identity.Private(), kid, "tunnel-1", 10, nil), "signature"},
		"changed on the way":         {bent, "signature"},
		"a token":                    {asToken, "signature"},
		"nothing":                    {none, "not a tunnel token"},
		"of another engine":          {c.policy(t, "tunnel-1", 10, nil, func(p *token.Policy) { p.Engine = other.Pin() }), "another engine"},
		"for another agent":          {c.policy(t, "tunnel-1", 10, nil, func(p *token.Policy) { p.Agent = other.Pin() }), "another agent"},
		"of another tunnel":          {moved, "another tunnel"},
		"for no tunnel":              {c.policy(t, "tunnel-2", 10, nil), "no such tunnel"},
		"older":                      {c.policy(t, "tunnel-1", 4, nil), "newer"},
		"of the same age":            {c.policy(t, "tunnel-1", 5, nil), "newer"},
		"the first revision":         {c.policy(t, "tunnel-1", 1, nil), "newer"},
	} {
		c.send(t, tt.m)
		line := d.log.expect(t, "msg=policy_rejected", "tunnel="+tt.m.Policy.Tunnel, tt.says)
		if strings.Contains(line, tt.m.Policy.Policy) && tt.m.Policy.Policy != "none" {
			t.Errorf("%s: the log tells the policy: %s", name, line)
		}
		if got := c.run(t, o, "echo open"); got != "open" {
			t.Errorf("%s: the shell says %q", name, got)
		}
	}
	// None of them was answered, and the numbers that they had are not used up.
	c.send(t, c.policy(t, "tunnel-1", 6, nil))
	c.applied(t, "tunnel-1", 6)
	c.refused(t, "closed", wire.ShellPort)
	if n := strings.Count(d.log.String(), "msg=policy_rejected"); n != 13 {
		t.Errorf("%d policies were rejected, want 13", n)
	}
}

// TestPolicyBeforeAdmit changes the ports of a tunnel that is not up yet, before and after it
// is ready.
func TestPolicyBeforeAdmit(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	newDevice(t, e)
	c := e.channel(t)
	o := c.offer(t, "tunnel-1")
	c.send(t, wire.FromEngine{Start: &o.start})
	c.send(t, c.policy(t, "tunnel-1", 1, nil))
	var ready wire.Ready
	applied := false
	for range 2 { // The two come in either order.
		switch m := c.next(t); {
		case m.Ready != nil:
			ready = *m.Ready
		case m.Applied != nil:
			applied = m.Applied.Revision == 1
		}
	}
	if !applied || ready.Tunnel != "tunnel-1" {
		t.Fatalf("applied %v, ready for %q", applied, ready.Tunnel)
	}
	at := echo(t)
	c.send(t, c.policy(t, "tunnel-1", 2, []token.Port{{Protocol: "tcp", From: at, To: at}}))
	c.applied(t, "tunnel-1", 2)
	e.addPeer(t, o, ready)
	c.send(t, wire.FromEngine{Admit: &wire.Admit{Tunnel: "tunnel-1"}})
	conn, err := c.dial(t, at)
	if err != nil {
		t.Fatal(err)
	}
	if err := ping(conn); err != nil {
		t.Error(err)
	}
	c.refused(t, "closed before the admit,", wire.ShellPort)
}

// TestPolicyOnAnotherConnection goes on where the channel before it ended.
func TestPolicyOnAnotherConnection(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	c.up(t, c.offer(t, "tunnel-1"))
	closed := c.policy(t, "tunnel-1", 3, nil)
	c.send(t, closed)
	c.applied(t, "tunnel-1", 3)
	c.ws.CloseNow()
	again := e.channel(t)
	again.send(t, again.policy(t, "tunnel-1", 2, shellOnly()))
	d.log.expect(t, "msg=policy_rejected", "newer")
	again.refused(t, "after the reconnect", wire.ShellPort)
	again.send(t, closed) // An engine that does not know whether it arrived.
	again.applied(t, "tunnel-1", 3)
	again.send(t, again.policy(t, "tunnel-1", 4, shellOnly()))
	again.applied(t, "tunnel-1", 4)
	if _, err := again.dial(t, wire.ShellPort); err != nil {
		t.Errorf("opened again: %v", err)
	}
	// The next tunnel begins with its own token.
	again.send(t, wire.FromEngine{Stop: &wire.Stop{Tunnel: "tunnel-1", Reason: "operator_left"}})
	d.log.expect(t, "msg=tunnel_down", "tunnel=tunnel-1")
	again.send(t, again.policy(t, "tunnel-1", 9, shellOnly()))
	d.log.expect(t, "msg=policy_rejected", "no such tunnel")
	next := again.offer(t, "tunnel-2")
	again.up(t, next)
	if got := again.run(t, next, "echo next"); got != "next" {
		t.Errorf("the next tunnel's shell says %q", got)
	}
	again.send(t, again.policy(t, "tunnel-2", 1, nil))
	again.applied(t, "tunnel-2", 1)
}
