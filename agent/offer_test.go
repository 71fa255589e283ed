//go:build linux

package agent_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/agent/shell"
	"borealis/agent/wire"
	"borealis/tunnel/token"
	"borealis/tunnel/wg"
)

var agentIP = netip.MustParseAddr("10.255.0.2")

// offer is what goes into a start.
type offer struct {
	start  wire.Start
	claims token.Claims
	psk    wgtypes.Key
	shell  ed25519.PrivateKey
}

// offer makes a start that passes, after changes to its claims.
func (c *channel) offer(t *testing.T, tunnel string, changes ...func(*token.Claims)) offer {
	t.Helper()
	kid, key := c.engine.keys.TokenSigner()
	return c.offerSigned(t, key, kid, tunnel, changes...)
}

// offerSigned makes a start whose token somebody signs.
func (c *channel) offerSigned(t *testing.T, key ed25519.PrivateKey, kid, tunnel string, changes ...func(*token.Claims)) offer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	psk, err := wgtypes.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	claims := token.Claims{
		Engine: c.identity.Pin(), Agent: c.agent.pin, Tunnel: tunnel, ID: rand.Text(), Nonce: c.hello.Nonce,
		IssuedAt: time.Now().Add(c.engine.ahead), ServerKey: c.engine.link.PublicKey(),
		Endpoint:  fmt.Sprintf("127.0.0.1:%d", c.engine.link.ListenPort()),
		VirtualIP: agentIP, EngineIP: engineIP,
		Ports: []token.Port{{Protocol: "tcp", From: wire.ShellPort, To: wire.ShellPort}},
		Idle:  15 * time.Minute, ShellKey: public,
	}
	for _, change := range changes {
		change(&claims)
	}
	tok, err := token.Sign(key, kid, claims)
	if err != nil {
		t.Fatal(err)
	}
	return offer{
		start:  wire.Start{Tunnel: tunnel, Token: tok, PresharedKey: psk.String()},
		claims: claims, psk: psk, shell: private,
	}
}

// ready sends a start and waits until the agent is ready for it.
func (c *channel) ready(t *testing.T, o offer) wire.Ready {
	t.Helper()
	c.send(t, wire.FromEngine{Start: &o.start})
	m := c.next(t)
	if m.Ready == nil || m.Ready.Tunnel != o.start.Tunnel || m.Ready.Token != o.start.Token {
		t.Fatalf("the agent answers %+v %+v, want ready", m, m.Refused)
	}
	return *m.Ready
}

// addPeer makes the agent's key the only peer of the engine's interface.
func (e *engine) addPeer(t *testing.T, o offer, ready wire.Ready) wgtypes.Key {
	t.Helper()
	key, err := wgtypes.ParseKey(ready.WireGuardKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.link.SetPeers([]wg.Peer{{PublicKey: key, PresharedKey: o.psk, AllowedIP: agentIP}}); err != nil {
		t.Fatal(err)
	}
	return key
}

// up brings a tunnel up, from the start to the handshake.
func (c *channel) up(t *testing.T, o offer) {
	t.Helper()
	key := c.engine.addPeer(t, o, c.ready(t, o))
	c.send(t, wire.FromEngine{Admit: &wire.Admit{Tunnel: o.start.Tunnel}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.engine.link.Handshake(ctx, key); err != nil {
		t.Fatal(err)
	}
}

// dialShell signs in at the agent's shell server, through the tunnel.
func (c *channel) dialShell(t *testing.T, key ed25519.PrivateKey) (*ssh.Client, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := c.engine.link.DialTCP(ctx, netip.AddrPortFrom(agentIP, wire.ShellPort))
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	host, err := ssh.NewPublicKey(c.agent.public)
	if err != nil {
		t.Fatal(err)
	}
	sc, channels, requests, err := ssh.NewClientConn(conn, "agent", &ssh.ClientConfig{
		User: shell.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.FixedHostKey(host), Timeout: patience,
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	client := ssh.NewClient(sc, channels, requests)
	t.Cleanup(func() {
		client.Close()
		client.Wait()
	})
	return client, nil
}

// run runs one command in the agent's shell and returns what it prints.
func (c *channel) run(t *testing.T, o offer, command string) string {
	t.Helper()
	client, err := c.dialShell(t, o.shell)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.Output(command)
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}
