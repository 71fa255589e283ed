package selftest

import (
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"borealis/cmd/borealis/doctor"
	"borealis/tunnel/keys"
)

// shortIdle is how long the tunnel of the check of idling lives without an operator.
const shortIdle = 2 * time.Second

// channelLost cuts every TCP connection between agents and engine under a tunnel.
func (m *matrix) channelLost(ctx context.Context) (string, error) {
	before, err := m.connected(ctx)
	if err != nil {
		return "", err
	}
	t, err := m.web.terminal(ctx, m.a.device, "", -1)
	if err != nil {
		return "", err
	}
	defer t.conn.CloseNow()
	gone := make(chan error, 1)
	go func() { gone <- m.online(ctx, m.a.device, false) }()
	m.relay.cut()
	if err := t.typed(ctx, "echo with\"out\"\r"); err != nil { // the tunnel needs no channel
		return "", err
	}
	if err := errors.Join(t.expect(ctx, "without"), <-gone); err != nil {
		return "", err
	}
	began := time.Now()
	if err := m.back(ctx, m.a); err != nil {
		return "", err
	}
	after, err := m.web.status(ctx, m.a.device)
	if err != nil {
		return "", err
	}
	if !after.Up || after.TunnelID != before.TunnelID {
		return "", fmt.Errorf("the tunnel %s is now %s, %s", before.TunnelID, after.TunnelID, after.State)
	}
	if err := t.typed(ctx, "echo still\"-there\"\r"); err != nil {
		return "", err
	}
	return fmt.Sprintf("the terminal went on; the agent was back after %.1f s", time.Since(began).Seconds()), t.expect(ctx, "still-there")
}

// agentRestarts stops an agent under its tunnel and starts it again.
func (m *matrix) agentRestarts(ctx context.Context) (string, error) {
	before, err := m.connected(ctx)
	if err != nil {
		return "", err
	}
	if err := m.a.end(); err != nil {
		return "", err
	}
	v, err := m.web.until(ctx, m.a.device, "the end", func(v tunnelView) bool { return v.State == "ended" })
	if err != nil {
		return "", err
	}
	if err := m.a.run(ctx); err != nil {
		return "", err
	}
	if err := m.back(ctx, m.a); err != nil {
		return "", err
	}
	after, err := m.web.status(ctx, m.a.device)
	if err != nil {
		return "", err
	}
	if after.Up || after.TunnelID != before.TunnelID || m.a.agent.Status().Tunnel != "" {
		return "", fmt.Errorf("after the agent came back the tunnel %s is %s", after.TunnelID, after.State)
	}
	return "it ended as " + v.Reason + " and nobody brought it back", nil
}

// linkDeleted deletes the WireGuard interface under a tunnel.
func (m *matrix) linkDeleted(ctx context.Context) (string, error) {
	if _, err := m.connected(ctx); err != nil {
		return "", err
	}
	if err := deleteLink(linkName); err != nil {
		return "", err
	}
	began := time.Now()
	for { // whoever connects before the engine has noticed meets a tunnel that is about to end
		v, err := m.web.up(ctx, m.a.device)
		if err == nil {
			_, err = net.InterfaceByName(linkName)
		}
		if err == nil {
			err = m.worksInTerminal(ctx)
		}
		if err == nil {
			return fmt.Sprintf("a tunnel was up again after %.1f s, at %s", time.Since(began).Seconds(), v.VirtualIP), nil
		}
		if late := wait(ctx, 20*pollEvery); late != nil {
			return "", err
		}
	}
}

// worksInTerminal types something into a terminal of the first agent.
func (m *matrix) worksInTerminal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	t, err := m.web.terminal(ctx, m.a.device, "", -1)
	if err != nil {
		return err
	}
	defer t.conn.CloseNow()
	if err := t.typed(ctx, "echo it\"-works\"\r"); err != nil {
		return err
	}
	return t.expect(ctx, "it-works")
}

// firewallFlushed removes every rule of the packet filter, as administrators do.
func (m *matrix) firewallFlushed(ctx context.Context) (string, error) {
	v, err := m.connected(ctx)
	if err != nil {
		return "", err
	}
	was := m.engine.Manager.Firewall().RepairedAt
	if _, err := doctor.Program(ctx, "iptables", "-F"); err != nil {
		return "", err
	}
	began := time.Now()
	for !m.engine.Manager.Firewall().RepairedAt.After(was) || !strings.Contains(doctor.Rules(ctx), v.VirtualIP) {
		if err := wait(ctx, pollEvery); err != nil {
			return "", fmt.Errorf("the rules did not come back: %w", err)
		}
	}
	took := time.Since(began)
	_, err = m.connected(ctx)
	return fmt.Sprintf("the rules were back after %.0f ms", milliseconds(took)), err
}

// restart ends the engine and starts one on the same data, address and port.
func (m *matrix) restart(ctx context.Context, idle time.Duration, udpPort int) error {
	listen := m.engine.Addr().String()
	m.stop()
	return m.start(ctx, idle, listen, udpPort)
}

// engineRestarts ends the engine under a tunnel and starts it again.
func (m *matrix) engineRestarts(ctx context.Context) (string, error) {
	before, err := m.connected(ctx)
	if err != nil {
		return "", err
	}
	if err := m.restart(ctx, shortIdle, m.udp); err != nil {
		return "", err
	}
	row, err := m.engine.Store.Tunnel(ctx, before.TunnelID)
	if err != nil {
		return "", err
	}
	if row.EndedAt.IsZero() || row.Reason == "" {
		return "", fmt.Errorf("the tunnel's row is %s %s", row.State, row.Reason)
	}
	if n, err := m.peers(ctx); err != nil || n != 0 {
		return "", fmt.Errorf("%d peers: %w", n, errors.Join(err))
	}
	began := time.Now()
	if err := m.back(ctx, m.a); err != nil {
		return "", err
	}
	return fmt.Sprintf("the tunnel ended as %s, no peer; the agent was back after %.1f s", row.Reason, time.Since(began).Seconds()), nil
}

// idleEnds leaves a tunnel alone.
func (m *matrix) idleEnds(ctx context.Context) (string, error) {
	began := time.Now()
	if _, err := m.connected(ctx); err != nil {
		return "", err
	}
	v, err := m.web.until(ctx, m.a.device, "the end", func(v tunnelView) bool { return v.State == "ended" })
	if err != nil {
		return "", err
	}
	if v.Reason != "idle_timeout" {
		return "", fmt.Errorf("it ended as %s", v.Reason)
	}
	return fmt.Sprintf("idle_timeout after %.1f s; it was set to %s", time.Since(began).Seconds(), shortIdle), nil
}

// portTaken starts the engine while somebody else has its UDP port.
func (m *matrix) portTaken(ctx context.Context) (string, error) {
	if err := m.ready(); err != nil {
		return "", err
	}
	listen := m.engine.Addr().String()
	m.stop()
	other, err := new(net.ListenConfig).ListenPacket(ctx, "udp", fmt.Sprintf(":%d", m.udp))
	if err != nil {
		return "", fmt.Errorf("take the UDP port: %w", err)
	}
	defer func() { _ = other.Close() }()
	if err := m.start(ctx, longIdle, listen, m.udp); err == nil {
		return "", errors.New("the engine says that tunnels are possible")
	}
	if m.engine == nil {
		return "", errors.New("the console does not come up without the UDP port")
	}
	if err := m.back(ctx, m.a); err != nil {
		return "", err
	}
	a, err := m.web.ask(ctx, http.MethodPost, "/api/tunnel/connect", map[string]string{"device_id": m.a.device})
	if err != nil {
		return "", err
	}
	code, detail := a.problem()
	if code != "tunnels_unavailable" || !strings.Contains(detail, fmt.Sprint(m.udp)) {
		return "", fmt.Errorf("the engine answered %d %s: %s", a.status, code, detail)
	}
	return "the console is up and says: " + detail, nil
}

// engineSecrets adds every private key of the engine to what nobody may find, in the forms
// in which one might leak.
func (m *matrix) engineSecrets() {
	k := m.engine.Keys
	_, token := k.TokenSigner()
	m.secret("identity", k.Identity.Private().Seed())
	m.secret("token key", token.Seed())
	m.secret("audit key", k.Audit.Seed())
	m.secret("WireGuard key", k.WireGuard[:])
	if web, ok := k.Web.PrivateKey.(*ecdsa.PrivateKey); ok {
		if raw, err := web.Bytes(); err == nil {
			m.secret("web key", raw)
		}
	}
	for _, a := range []*rigAgent{m.a, m.b} {
		if a == nil {
			continue
		}
		if k, err := keys.OpenAgent(filepath.Join(a.data, "Agent", "Borealis", "Certificates", "VPN_Client")); err == nil {
			m.secret("identity of agent "+a.name, k.Identity.Private().Seed())
		}
	}
}

func (m *matrix) secret(name string, raw []byte) {
	m.secrets[name] = raw
	m.secrets[name+" in base64"] = []byte(base64.StdEncoding.EncodeToString(raw))
	m.secrets[name+" in base64url"] = []byte(base64.RawURLEncoding.EncodeToString(raw))
	m.secrets[name+" in hexadecimal"] = []byte(hex.EncodeToString(raw))
}
