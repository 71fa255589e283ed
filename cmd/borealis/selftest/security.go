package selftest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"borealis/agent"
	"borealis/agent/wire"
	"borealis/cmd/borealis/doctor"
	"borealis/cmd/borealis/engine"
	"borealis/cmd/hint"
	"borealis/handlers"
	"borealis/store"
	"borealis/tunnel/keys"
	"borealis/tunnel/wg"
)

// openEndpoints is all that needs no session, by how it begins: the signs of life, the files of
// pages, signing in, and the agents' programs.
var openEndpoints = []string{"/healthz", "/readyz", "/_s/", "/favicon.ico", "/login", "/downloads/"}

// endpointsClosed asks for everything else that there is, without a session.
func (m *matrix) endpointsClosed(ctx context.Context) (string, error) {
	stranger, err := newWebClient(m.base(), "", m.engine.Keys.Web, &m.kept)
	if err != nil {
		return "", err
	}
	defer stranger.close()
	tried := 0
	for _, e := range m.engine.Handlers.Endpoints() {
		if slices.ContainsFunc(openEndpoints, func(begin string) bool { return strings.HasPrefix(e.Path, begin) }) {
			continue
		}
		path := strings.NewReplacer("{id}", m.engine.Keys.Identity.Pin().String()[:8], "*", "x").Replace(e.Path)
		a, err := stranger.ask(ctx, e.Method, path, nil)
		if err != nil {
			return "", err
		}
		if a.status != http.StatusUnauthorized {
			return "", fmt.Errorf("%s %s answered %d to somebody who is not signed in", e.Method, path, a.status)
		}
		tried++
	}
	return fmt.Sprintf("%d endpoints answered 401", tried), nil
}

// foreignHost calls the engine by a name that is not its own.
func (m *matrix) foreignHost(ctx context.Context) (string, error) {
	a, err := m.web.ask(ctx, http.MethodGet, "/api/devices", nil, func(q *http.Request) { q.Host = "attacker.example" })
	if err == nil && a.status != http.StatusMisdirectedRequest {
		err = fmt.Errorf("the engine answered %d to a foreign host name", a.status)
	}
	return "421", err
}

// crossOrigin opens a terminal with somebody's session from a foreign page.
func (m *matrix) crossOrigin(ctx context.Context) (string, error) {
	conn, resp, err := m.browser.socket(ctx, m.device(), "https://attacker.example")
	if err == nil {
		conn.CloseNow()
		return "", errors.New("a page of another origin opened a terminal")
	}
	if resp == nil {
		return "", err
	}
	defer closeBody(resp)
	if resp.StatusCode != http.StatusForbidden {
		return "", fmt.Errorf("the engine answered %d to a page of another origin", resp.StatusCode)
	}
	return "403", nil
}

// device is the id of the first agent's device, or of none.
func (m *matrix) device() string {
	if m.a == nil {
		return "none"
	}
	return m.a.device
}

// badCodes tries enrolment codes that must not work.
func (m *matrix) badCodes(ctx context.Context) (string, error) {
	right, err := m.newCode(ctx)
	if err != nil {
		return "", err
	}
	wrong, expired, used := right, right, right
	wrong.Secret, expired.Secret, used.Secret = wire.NewSecret(), wire.NewSecret(), wire.NewSecret()
	past := store.Code{Uses: 1, CreatedBy: "self-test", CreatedAt: time.Now().Add(-time.Hour), ExpiresAt: time.Now().Add(-time.Minute)}
	if _, err := m.engine.Store.AddCode(ctx, handlers.HashSecret(expired.Secret), past, engine.LocalRecord()); err != nil {
		return "", err
	}
	once := past
	once.ExpiresAt = time.Now().Add(time.Hour)
	if _, err := m.engine.Store.AddCode(ctx, handlers.HashSecret(used.Secret), once, engine.LocalRecord()); err != nil {
		return "", err
	}
	if err := m.tryCode(ctx, used); err != nil {
		return "", fmt.Errorf("a fresh code: %w", err)
	}
	for want, code := range map[string]wire.Code{"code_unknown": wrong, "code_expired": expired, "code_used": used} {
		err := m.tryCode(ctx, code)
		refused, ok := errors.AsType[*agent.RefusedError](err)
		if !ok || refused.Code != want {
			return "", fmt.Errorf("a code was to be refused as %s, and it came to this: %w", want, errors.Join(err))
		}
	}
	return "each with its reason", nil
}

// tryCode enrols a device that is new and thrown away.
func (m *matrix) tryCode(ctx context.Context, code wire.Code) error {
	data, err := os.MkdirTemp(m.dir, "device-")
	if err != nil {
		return err
	}
	_, err = agent.Enrol(ctx, agent.EnrolConfig{Data: data, Code: code.String(), Hostname: "selftest-refused"})
	return err
}

// wrongPin has an agent meet an engine that is not the one of its code.
func (m *matrix) wrongPin(ctx context.Context) (string, error) {
	code, err := m.newCode(ctx)
	if err != nil {
		return "", err
	}
	other, err := keys.NewIdentity("another engine")
	if err != nil {
		return "", err
	}
	code.Pin = other.Pin()
	err = m.tryCode(ctx, code)
	if err == nil {
		return "", errors.New("an agent enrolled with an engine whose pin is another one")
	}
	if _, ok := errors.AsType[*agent.PinError](err); !ok {
		return "", fmt.Errorf("the agent did not say that the pin is wrong: %w", err)
	}
	return "the agent told both pins and sent nothing", nil
}

// unlistedPort tries a port that is not allowed, though a server listens there.
func (m *matrix) unlistedPort(ctx context.Context) (string, error) {
	if m.closed == nil {
		return "", errNoTunnel
	}
	proof, err := m.prove(ctx) // the neighbours of open ports are in every proof
	if err != nil {
		return "", err
	}
	if m.link == wg.TUN {
		if said, err := m.through(ctx, m.closed.port()); err == nil {
			return "", fmt.Errorf("this host reached the closed port %d through the tunnel and read %q", m.closed.port(), said)
		}
	}
	if n := m.closed.count(); n != 0 {
		return "", fmt.Errorf("the server behind the closed port saw %d connections", n)
	}
	return fmt.Sprintf("port %d and %d others refused by the %s, and the agent enforces the same list: %t", m.closed.port(), proof.Proof.Refused-1, proof.Proof.By, proof.Proof.Confirmed), nil
}

// rogueUp gives the rogue a tunnel.
func (m *matrix) rogueUp(ctx context.Context, token func(own string) string) (tunnelView, error) {
	v, err := m.web.connect(ctx, m.rogue.device)
	if err != nil {
		return v, err
	}
	if err := m.rogue.offer(ctx, v, token); err != nil {
		return v, err
	}
	m.secrets["pre-shared key of "+v.TunnelID] = []byte(m.rogue.start.PresharedKey)
	return v, nil
}

// engineOutOfReach has a device knock at the engine from inside its tunnel.
func (m *matrix) engineOutOfReach(ctx context.Context) (string, error) {
	if err := m.ready(); err != nil {
		return "", err
	}
	v, err := m.rogueUp(ctx, func(own string) string { return own })
	if err != nil {
		return "", err
	}
	if err := m.rogue.join(ctx); err != nil {
		return "", err
	}
	engine, err := netip.ParseAddr(v.EngineIP)
	if err != nil {
		return "", err
	}
	ports := []int{m.engine.Port(), 22, m.udp}
	if m.link == wg.TUN { // there, a program of the host can listen where the tunnel ends
		server, err := serveAt(ctx, net.JoinHostPort(v.EngineIP, "0"))
		if err != nil {
			return "", err
		}
		defer server.close()
		ports = append(ports, server.port())
	}
	if open := m.rogue.reaches(ctx, engine, ports...); len(open) > 0 {
		return "", fmt.Errorf("a device reached the ports %v of the engine through its tunnel", open)
	}
	return fmt.Sprintf("ports %v answered nothing", ports), nil
}

// agentsApart has a device knock at another one, through the engine.
func (m *matrix) agentsApart(ctx context.Context) (string, error) {
	other, err := m.connected(ctx)
	if err != nil {
		return "", err
	}
	if m.rogue.link == nil || m.custom == nil {
		return "", errNoTunnel
	}
	to, err := netip.ParseAddr(other.VirtualIP)
	if err != nil {
		return "", err
	}
	if err := m.rogue.towards(ctx, to); err != nil {
		return "", err
	}
	before := m.custom.count()
	if open := m.rogue.reaches(ctx, to, wire.ShellPort, m.custom.port()); len(open) > 0 {
		return "", fmt.Errorf("a device reached the ports %v of another one", open)
	}
	if n := m.custom.count() - before; n != 0 {
		return "", fmt.Errorf("a server on another device saw %d connections", n)
	}
	_, err = m.web.disconnect(ctx, m.rogue.device)
	return "neither its shell nor an open port answered", err
}

// disconnectCuts ends the tunnel of the functional checks.
func (m *matrix) disconnectCuts(ctx context.Context) (string, error) {
	if !m.live.Up {
		return "", errNoTunnel
	}
	if _, err := m.second.disconnect(ctx, m.a.device); err != nil {
		return "", err
	}
	began := time.Now()
	v, err := m.web.disconnect(ctx, m.a.device)
	took := time.Since(began)
	if err != nil {
		return "", err
	}
	if v.State != "ended" || v.Reason != "operator_disconnect" {
		return "", fmt.Errorf("the last operator left and the tunnel is %s %s", v.State, v.Reason)
	}
	n, err := m.peers(ctx)
	if err != nil || n != 0 {
		return "", fmt.Errorf("%d peers are left: %w", n, errors.Join(err))
	}
	if m.link == wg.TUN {
		if _, err := m.through(ctx, m.custom.port()); err == nil {
			return "", errors.New("the port answers though the tunnel is gone")
		}
		if left := doctor.Rules(ctx); strings.Contains(left, m.live.VirtualIP) {
			return "", fmt.Errorf("rules of the packet filter are left: %s", left)
		}
	}
	return fmt.Sprintf("no peer and no port %.0f ms after the last one left", milliseconds(took)), nil
}

// replayRefused shows the engine the token of a tunnel before.
func (m *matrix) replayRefused(ctx context.Context) (string, error) {
	if err := m.ready(); err != nil {
		return "", err
	}
	old := m.rogue.start.Token
	if old == "" {
		return "", errNoTunnel
	}
	v, err := m.rogueUp(ctx, func(string) string { return old })
	if err != nil {
		return "", err
	}
	after, err := m.web.until(ctx, m.rogue.device, "a refusal", func(v tunnelView) bool { return v.State == "ended" })
	if err != nil {
		return "", err
	}
	if after.TunnelID != v.TunnelID || after.Reason != "token_rejected" {
		return "", fmt.Errorf("the tunnel ended as %s", after.Reason)
	}
	short, cancel := context.WithTimeout(ctx, noHandshake)
	defer cancel()
	if err := m.rogue.towards(short, m.rogue.peer.AllowedIP); err == nil {
		return "", errors.New("the engine made a handshake with the key that came with an old token")
	}
	if n, err := m.peers(ctx); err != nil || n != 0 {
		return "", fmt.Errorf("%d peers: %w", n, errors.Join(err))
	}
	return "token_rejected, no handshake and no peer", nil
}

// revokedCut ends the trust in the second device while it has a tunnel.
func (m *matrix) revokedCut(ctx context.Context) (string, error) {
	if err := m.ready(); err != nil {
		return "", err
	}
	if _, err := m.web.up(ctx, m.b.device); err != nil {
		return "", err
	}
	began := time.Now()
	if err := m.web.call(ctx, http.MethodPost, "/api/devices/"+m.b.device+"/revoke", nil, nil); err != nil {
		return "", err
	}
	v, err := m.web.until(ctx, m.b.device, "the end", func(v tunnelView) bool { return v.State == "ended" })
	if err != nil {
		return "", err
	}
	if err := m.online(ctx, m.b.device, false); err != nil {
		return "", err
	}
	took := time.Since(began)
	if took > time.Second {
		return "", &hint.Error{Err: fmt.Errorf("it took %s", took), Hint: hintSlow}
	}
	a, err := m.web.ask(ctx, http.MethodPost, "/api/tunnel/connect", map[string]string{"device_id": m.b.device})
	if err != nil {
		return "", err
	}
	if code, _ := a.problem(); code != "device_revoked" || v.Reason != "device_revoked" {
		return "", fmt.Errorf("the tunnel ended as %s, and a new one is refused as %q", v.Reason, code)
	}
	return fmt.Sprintf("cut after %.0f ms", milliseconds(took)), m.b.end()
}

// fileModes looks at everything that engine and agents have written.
func (m *matrix) fileModes(context.Context) (string, error) {
	n := 0
	err := filepath.WalkDir(m.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // it was a temporary one
			return nil
		}
		if err != nil {
			return err
		}
		n++
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			rel, _ := filepath.Rel(m.dir, path)
			return fmt.Errorf("%s has the mode %o", rel, mode)
		}
		return nil
	})
	return fmt.Sprintf("%d files", n), err
}

// secretsStaySecret looks for every key that is known in all that was written and sent.
func (m *matrix) secretsStaySecret(context.Context) (string, error) {
	m.engineSecrets()
	seen := map[string][]byte{"an answer of the engine": m.kept.bytes()}
	err := filepath.WalkDir(m.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || strings.Contains(path, "Certificates") || path == filepath.Clean(string(m.root))+".key" {
			return err
		}
		rel, _ := filepath.Rel(m.dir, path)
		b, err := os.ReadFile(path) //nolint:gosec // it is in the self-test's own folder
		seen[rel] = b
		return err
	})
	if err != nil {
		return "", err
	}
	for where, b := range seen {
		for name, secret := range m.secrets {
			if bytes.Contains(b, secret) {
				return "", fmt.Errorf("the %s is in %s", name, where)
			}
		}
	}
	return fmt.Sprintf("%d secrets looked for in %d places", len(m.secrets), len(seen)), nil
}
