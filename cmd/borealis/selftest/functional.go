package selftest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"

	"borealis/store"
	"borealis/tunnel/wg"
)

const (
	longIdle   = 5 * time.Minute // longer than all checks that do not wait for it
	someOutput = 200_000         // bytes
)

// engineStarts brings up the engine, without a peer.
func (m *matrix) engineStarts(ctx context.Context) (string, error) {
	listen := "127.0.0.1:0"
	if m.link == wg.TUN {
		listen = ":8443" // a real service behind the tunnel's own address too
	}
	if err := m.start(ctx, longIdle, listen, m.UDPPort); err != nil {
		return "", err
	}
	if m.engine.Manager.Link().Mode != m.link {
		return "", fmt.Errorf("the link is %s and not %s: %s", m.engine.Manager.Link().Mode, m.link, m.engine.Manager.Link().Reason)
	}
	if err := m.clients(ctx); err != nil {
		return "", err
	}
	var err error
	if m.relay, err = newRelay(ctx, fmt.Sprintf("127.0.0.1:%d", m.engine.Port())); err != nil {
		return "", err
	}
	n, err := m.peers(ctx)
	if err == nil && n != 0 {
		err = fmt.Errorf("there are %d peers before the first connect", n)
	}
	m.started = err == nil
	return fmt.Sprintf("no peer, UDP port %d, firewall %s", m.udp, m.engine.Manager.Firewall().Kind), err
}

// peers counts the peers of the WireGuard interface; without one that the host knows,
// the tunnels that could have one.
func (m *matrix) peers(ctx context.Context) (int, error) {
	if m.link != wg.TUN {
		var all struct{ Total int }
		return all.Total, m.web.call(ctx, http.MethodGet, "/api/tunnels", nil, &all)
	}
	c, err := wgctrl.New()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	d, err := c.Device(linkName)
	if err != nil {
		return 0, fmt.Errorf("read the WireGuard interface: %w", err)
	}
	return len(d.Peers), nil
}

// agentsEnrol enrols three devices: two agents, and one that will misbehave.
func (m *matrix) agentsEnrol(ctx context.Context) (string, error) {
	var err error
	if m.a, err = m.enrol(ctx, "a"); err != nil {
		return "", err
	}
	if m.b, err = m.enrol(ctx, "b"); err != nil {
		return "", err
	}
	c, err := m.enrol(ctx, "c")
	if err != nil {
		return "", err
	}
	defer c.logFile.Close()
	d, err := m.engine.Store.Device(ctx, c.device)
	if err != nil {
		return "", err
	}
	if m.rogue, err = newRogue(ctx, c, d.Machine); err != nil {
		return "", err
	}
	return "3 devices, each with a code of its own; those on a known machine waited for a decision", m.online(ctx, c.device, true)
}

func (m *matrix) agentsOnline(ctx context.Context) (string, error) {
	if m.b == nil {
		return "", errors.New("not tried: the agents are not enrolled")
	}
	for _, a := range []*rigAgent{m.a, m.b} {
		if err := a.run(ctx); err != nil {
			return "", err
		}
	}
	return "2 agents", m.back(ctx, m.a, m.b)
}

// connectUp connects an operator.
func (m *matrix) connectUp(ctx context.Context) (string, error) {
	if err := m.ready(); err != nil {
		return "", err
	}
	began := time.Now()
	v, err := m.web.up(ctx, m.a.device)
	if err != nil {
		return "", err
	}
	m.live = v
	return fmt.Sprintf("up %.0f ms after the click, at %s", milliseconds(time.Since(began)), v.VirtualIP), nil
}

// errNoTunnel is why a check was not tried.
var errNoTunnel = errors.New("not tried: there is no tunnel")

// ready says why agents cannot be asked for anything.
func (m *matrix) ready() error {
	if m.b == nil || m.a.agent == nil || m.rogue == nil {
		return errors.New("not tried: the agents are not there")
	}
	return nil
}

// connected sees to it that the first agent has a tunnel.
func (m *matrix) connected(ctx context.Context) (tunnelView, error) {
	if err := m.ready(); err != nil {
		return tunnelView{}, err
	}
	v, err := m.web.status(ctx, m.a.device)
	if err != nil || v.Up {
		return v, err
	}
	return m.web.up(ctx, m.a.device)
}

// tokenSingleUse tries to use the token of the tunnel again.
func (m *matrix) tokenSingleUse(ctx context.Context) (string, error) {
	if !m.live.Up {
		return "", errNoTunnel
	}
	row, err := m.engine.Store.Tunnel(ctx, m.live.TunnelID)
	if err != nil {
		return "", err
	}
	err = m.engine.Store.RedeemToken(ctx, row.TokenID, time.Now())
	if err == nil {
		return "", errors.New("the token of a tunnel that is up could be used once more")
	}
	if !errors.Is(err, store.ErrTokenUsed) {
		return "", err
	}
	return "a second use is refused: " + store.ErrTokenUsed.Error(), nil
}

// terminalEchoes opens a terminal and has its shell calculate.
func (m *matrix) terminalEchoes(ctx context.Context) (string, error) {
	if !m.live.Up {
		return "", errNoTunnel
	}
	began := time.Now()
	var err error
	if m.shell, err = m.web.terminal(ctx, m.a.device, "", -1); err != nil {
		return "", err
	}
	if err := m.shell.typed(ctx, "echo $((6*7))\"-calculated\"\r"); err != nil {
		return "", err
	}
	return fmt.Sprintf("answered %.0f ms after it was asked for", milliseconds(time.Since(began))), m.shell.expect(ctx, "42-calculated")
}

// outputOverTunnel counts what WireGuard carries.
func (m *matrix) outputOverTunnel(ctx context.Context) (string, error) {
	if m.shell == nil {
		return "", errNoTunnel
	}
	before, err := m.web.status(ctx, m.a.device)
	if err != nil {
		return "", err
	}
	if err := m.shell.typed(ctx, fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x; echo; echo all\"-of-it\"\r", someOutput)); err != nil {
		return "", err
	}
	if err := m.shell.expect(ctx, "all-of-it"); err != nil {
		return "", err
	}
	var carried int64
	for range 20 { // the engine's figures may be a moment old
		after, err := m.web.status(ctx, m.a.device)
		if err != nil {
			return "", err
		}
		if carried = after.Received - before.Received; carried >= someOutput {
			break
		}
		if err := wait(ctx, pollEvery); err != nil {
			return "", err
		}
	}
	if carried < someOutput {
		return "", fmt.Errorf("WireGuard carried %d bytes of %d of output", carried, someOutput)
	}
	return fmt.Sprintf("WireGuard carried %d bytes for %d of output", carried, someOutput), nil
}

func (m *matrix) secondShares(ctx context.Context) (string, error) {
	if !m.live.Up {
		return "", errNoTunnel
	}
	v, err := m.second.connect(ctx, m.a.device)
	if err != nil {
		return "", err
	}
	if !v.Joined || v.TunnelID != m.live.TunnelID {
		return "", fmt.Errorf("a second operator got the tunnel %s, joined: %t", v.TunnelID, v.Joined)
	}
	now, err := m.web.status(ctx, m.a.device)
	if err == nil && now.Operators != 2 {
		err = fmt.Errorf("it has %d operators and not 2", now.Operators)
	}
	return "joined the same tunnel", err
}

// reloadResumes loses the terminal's connection and comes back.
func (m *matrix) reloadResumes(ctx context.Context) (string, error) {
	if m.shell == nil {
		return "", errNoTunnel
	}
	if err := m.shell.typed(ctx, "KEPT=yes; echo be\"fore\"\r"); err != nil {
		return "", err
	}
	if err := m.shell.expect(ctx, "before"); err != nil {
		return "", err
	}
	m.shell.conn.CloseNow()
	again, err := m.web.terminal(ctx, m.a.device, m.shell.id, m.shell.offset)
	if err != nil {
		return "", err
	}
	was := m.shell
	m.shell = again
	if again.id != was.id {
		return "", fmt.Errorf("it is another terminal: %s and not %s", again.id, was.id)
	}
	if err := again.typed(ctx, "echo $KEPT\"-resumed\"\r"); err != nil {
		return "", err
	}
	return "the same shell, nothing lost", again.expect(ctx, "yes-resumed")
}

// portsView is what the API says of a device's ports, as far as the self-test looks at it.
type portsView struct {
	Revision int64 `json:"revision"`
	Proof    struct {
		OK        bool     `json:"ok"`
		Confirmed bool     `json:"confirmed"`
		By        string   `json:"by"`
		Refused   int      `json:"refused"`
		Alarms    []string `json:"alarms"`
		Ports     []struct {
			Port   string `json:"port"`
			Result string `json:"result"`
		} `json:"ports"`
	} `json:"proof"`
}

// customPort opens a port behind which a server listens on the device.
func (m *matrix) customPort(ctx context.Context) (string, error) {
	if !m.live.Up {
		return "", errNoTunnel
	}
	var err error
	if m.custom, m.closed, err = twoPorts(ctx); err != nil {
		return "", err
	}
	port, path := m.custom.port(), "/api/devices/"+m.a.device+"/ports"
	var now portsView
	if err := m.web.call(ctx, http.MethodGet, path, nil, &now); err != nil {
		return "", err
	}
	want := map[string]any{"services": struct{}{}, "custom": []map[string]any{{"protocol": "tcp", "from": port, "to": port, "label": "self-test"}}}
	err = m.web.call(ctx, http.MethodPut, path, want, nil, func(q *http.Request) {
		q.Header.Set("If-Match", fmt.Sprintf("%q", fmt.Sprint(now.Revision)))
	})
	if err != nil {
		return "", err
	}
	if m.link == wg.TUN {
		said, err := m.through(ctx, port)
		if err != nil || said != greeting {
			return "", fmt.Errorf("the port is open and this host gets %q through the tunnel: %w", said, err)
		}
	}
	proof, err := m.prove(ctx)
	if err != nil {
		return "", err
	}
	answers := slices.ContainsFunc(proof.Proof.Ports, func(p struct {
		Port   string `json:"port"`
		Result string `json:"result"`
	},
	) bool {
		return p.Port == fmt.Sprintf("%d/tcp", port) && p.Result == "answers"
	})
	if !answers || m.custom.count() == 0 {
		return "", fmt.Errorf("the server on the device saw %d connections: %+v", m.custom.count(), proof.Proof)
	}
	return fmt.Sprintf("a server behind port %d answered", port), nil
}

// through reads what a port of the first agent's device says, as a program of this host.
func (m *matrix) through(ctx context.Context, port int) (string, error) {
	vip, err := netip.ParseAddr(m.live.VirtualIP)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", netip.AddrPortFrom(vip, uint16(port)).String()) //nolint:gosec // a port fits
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return "", err
	}
	b, err := io.ReadAll(conn)
	return string(b), err
}

// prove has the engine probe the ports of the first agent, open and closed.
func (m *matrix) prove(ctx context.Context) (p portsView, err error) {
	path := "/api/devices/" + m.a.device + "/ports"
	if err := m.web.call(ctx, http.MethodPost, path+"/check", nil, nil); err != nil {
		return p, err
	}
	if err := m.web.call(ctx, http.MethodGet, path, nil, &p); err != nil {
		return p, err
	}
	if !p.Proof.OK {
		return p, fmt.Errorf("the ports are not as they are shown: %s", strings.Join(p.Proof.Alarms, " "))
	}
	return p, nil
}

func (m *matrix) statusAlias(ctx context.Context) (string, error) {
	if !m.live.Up {
		return "", errNoTunnel
	}
	v, err := m.web.status(ctx, m.a.device)
	if err != nil {
		return "", err
	}
	var alias tunnelView
	if err := m.web.call(ctx, http.MethodGet, "/api/tunnel/connect/status?device_id="+m.a.device, nil, &alias); err != nil {
		return "", err
	}
	if alias.TunnelID != v.TunnelID || alias.State != v.State || !v.Up || v.VirtualIP != m.live.VirtualIP {
		return "", fmt.Errorf("the status is %+v, the alias says %+v", v, alias)
	}
	return "both say up", nil
}
