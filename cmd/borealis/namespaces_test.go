//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"borealis/tunnel/wg/nstest"
)

// A fleet is an engine and two agents as real programs on hosts of their own: the
// engine on a TUN where the test is, each agent behind a cable.
type fleet struct {
	t      *testing.T
	bin    string
	data   string
	client *client
	agents [2]*machine
	engine *nstest.Process
	host   *nstest.Host // the engine's, where the test is
	serve  []string     // more arguments of serve
}

type machine struct {
	host    *nstest.Host
	data    string
	device  string
	process *nstest.Process
}

func newFleet(t *testing.T, serve ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, bin: t.TempDir(), data: t.TempDir(), serve: serve}
	build := exec.Command("go", "build", "-o", f.bin, ".", "../borealis-agent")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	f.host = nstest.Here(t)
	for i, network := range []string{"192.0.2.", "198.51.100."} {
		f.agents[i] = &machine{host: nstest.NewHost(t, "agent"+strconv.Itoa(i)), data: t.TempDir()}
		nstest.Join(t, f.host, netip.MustParsePrefix(network+"1/24"), f.agents[i].host, netip.MustParsePrefix(network+"2/24"))
	}
	f.run("init", "--data", f.data)
	f.startEngine()
	for i, network := range []string{"192.0.2.", "198.51.100."} {
		a := f.agents[i]
		code := f.run("code", "new", "--data", f.data, "--auto-approve", "--engine", network+"1:8443")
		out := a.host.Output(t, filepath.Join(f.bin, "borealis-agent"), "enrol", "--json", "--data", a.data, "--code", strings.TrimSpace(code))
		var enrolled struct {
			DeviceID string `json:"device_id"`
			State    string `json:"state"`
		}
		if err := json.Unmarshal([]byte(out), &enrolled); err != nil || enrolled.State != "active" {
			t.Fatalf("enrol: %q %v", out, err)
		}
		a.device = enrolled.DeviceID
		f.startAgent(a)
	}
	return f
}

func (f *fleet) run(args ...string) string {
	f.t.Helper()
	out, err := exec.Command(filepath.Join(f.bin, "borealis"), args...).Output()
	if err != nil {
		f.t.Fatalf("borealis %q: %v", args, err)
	}
	return string(out)
}

func (f *fleet) startEngine() {
	f.t.Helper()
	c := exec.Command(filepath.Join(f.bin, "borealis"), append([]string{"serve", "--json", "--data", f.data, "--listen", ":8443"}, f.serve...)...)
	out, in, err := os.Pipe()
	if err != nil {
		f.t.Fatal(err)
	}
	defer out.Close()
	c.Stdout = in
	var text bytes.Buffer
	c.Stderr = &text
	f.engine = f.host.Start(f.t, c)
	in.Close()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var r ready
	if err != nil || json.Unmarshal(line, &r) != nil || r.UDPPort != 30000 {
		_ = f.engine.Signal(syscall.SIGKILL)
		<-f.engine.Done()
		f.t.Fatalf("serve said %q: %v\n%s", line, err, text.String())
	}
	f.client = newClient(f.t, "https://127.0.0.1:8443", strings.TrimSpace(f.run("token", "new", "--operator", "admin", "--data", f.data)))
}

// startAgent starts an agent and waits until its engine sees it.
func (f *fleet) startAgent(m *machine) {
	f.t.Helper()
	if m.process != nil { // What the engine sends to the one before would be lost.
		f.eventually("the agent before to be offline", func() bool { return !f.online(m) })
	}
	m.process = m.host.Start(f.t, exec.Command(filepath.Join(f.bin, "borealis-agent"), "run", "--data", m.data, "--shell", "/bin/sh"))
	f.eventually("the agent to be online", func() bool { return f.online(m) })
}

// online reports whether the engine sees an agent.
func (f *fleet) online(m *machine) bool {
	var d struct{ Online bool }
	f.client.do(f.t.Context(), http.MethodGet, "/api/devices/"+m.device, nil, &d)
	return d.Online
}

// Limits of waiting, of what is not a matter of speed.
const (
	usual  = 30 * time.Second
	longer = 4 * time.Minute
)

func (f *fleet) eventually(what string, done func() bool) {
	f.t.Helper()
	f.eventuallyIn(usual, what, done)
}

func (f *fleet) eventuallyIn(limit time.Duration, what string, done func() bool) {
	f.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(limit); !done(); {
		select {
		case <-tick.C:
		case <-limit:
			f.t.Fatalf("waited for %s", what)
		}
	}
}

// here runs a program on the engine's host.
func (f *fleet) here(name string, args ...string) string {
	f.t.Helper()
	return f.host.Output(f.t, name, args...)
}

// TestNamespaces does the whole job with real programs on three hosts.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	if !nstest.Run(t) {
		return
	}
	nstest.TUN(t)
	f := newFleet(t)
	a, b := f.agents[0], f.agents[1]
	before := a.network(t)

	t.Run("tunnel", func(t *testing.T) { f.oneTunnel(t, a, b) })
	t.Run("agent's host is untouched", func(t *testing.T) {
		if after := a.network(t); after != before {
			t.Errorf("before\n%s\nafter\n%s", before, after)
		}
		if listening := a.host.Output(t, "ss", "-Hlnt"); listening != "" {
			t.Errorf("the agent's host listens: %s", listening)
		}
	})
	t.Run("killed agent", func(t *testing.T) { f.killedAgent(t, b) })
	t.Run("logs agree", func(t *testing.T) { f.logsAgree(t, a, "operator_disconnect") })
	t.Run("nothing is left", func(t *testing.T) { f.stops(t) })
}

// network is what an agent must not change of its host.
func (m *machine) network(t *testing.T) string {
	return m.host.Output(t, "ip", "-4", "-o", "addr") + m.host.Output(t, "ip", "-4", "route", "show", "table", "all")
}

// oneTunnel connects an agent, uses its shell, and disconnects. The other agent has
// a tunnel at the same time, which must not notice.
func (f *fleet) oneTunnel(t *testing.T, a, b *machine) {
	ctx := t.Context()
	other := newClient(t, f.client.base, f.client.token)
	other.device = b.device
	other.connect(ctx)
	other.untilUp(ctx)

	c := f.client
	c.device = a.device
	c.connect(ctx)
	up := c.untilUp(ctx)
	shown := f.here("wg", "show", "borealis0", "allowed-ips")
	if !strings.Contains(shown, "\t"+up.VirtualIP+"/32\n") || !onePerPeer.MatchString(shown) {
		t.Errorf("wg shows %q, want one /32 for each of two peers, and %s", shown, up.VirtualIP)
	}
	if strings.Contains(f.here("wg", "show", "borealis0", "latest-handshakes"), "\t0\n") {
		t.Error("a tunnel is called up without a handshake")
	}
	if addr := f.here("ip", "-br", "addr", "show", "borealis0"); !strings.Contains(addr, up.EngineIP+"/32") && !strings.Contains(addr, "10.255.0.1/") {
		t.Errorf("address: %s", addr)
	}

	w := c.terminal(ctx, "", -1)
	tunnelled, control := f.tunnelled(t), a.controlBytes(t)
	w.typed(ctx, "head -c 500000 /dev/zero | tr '\\0' x; echo; echo all of it\r")
	w.expect(ctx, "x\r\nall of it")
	if got := f.tunnelled(t) - tunnelled; got < 500000 {
		t.Errorf("the WireGuard interface carried %d bytes of 500000", got)
	}
	if got := a.controlBytes(t) - control; got > 50000 {
		t.Errorf("the control channel carried %d bytes meanwhile", got)
	}

	c.do(ctx, http.MethodDelete, "/api/tunnel/disconnect?device_id="+a.device, nil, nil)
	if peers := f.here("wg", "show", "borealis0", "allowed-ips"); strings.Contains(peers, up.VirtualIP+"/32") || strings.Count(peers, "\n") != 1 {
		t.Errorf("peers after the disconnect: %q", peers)
	}
	if st := other.status(ctx); !st.Up {
		t.Errorf("the other agent's tunnel is %+v", st)
	}
	other.do(ctx, http.MethodDelete, "/api/tunnel/disconnect?device_id="+b.device, nil, nil)
	if peers := f.here("wg", "show", "borealis0", "peers"); peers != "" {
		t.Errorf("peers after both disconnects: %q", peers)
	}
}

// onePerPeer is two peers, each with exactly one /32.
var onePerPeer = regexp.MustCompile(`^(\S+\t10\.255\.\d+\.\d+/32\n){2}$`)

// tunnelled is how many bytes the engine's interface has received through WireGuard.
func (f *fleet) tunnelled(t *testing.T) int {
	total := 0
	for line := range strings.Lines(f.here("wg", "show", "borealis0", "transfer")) {
		n, err := strconv.Atoi(strings.Fields(line)[1])
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return total
}

var sent = regexp.MustCompile(`bytes_sent:(\d+)`)

// controlBytes is how many bytes the agent has sent on its control channel.
func (m *machine) controlBytes(t *testing.T) int {
	total := 0
	for _, found := range sent.FindAllStringSubmatch(m.host.Output(t, "ss", "-Htin", "dport", "=", ":8443"), -1) {
		n, err := strconv.Atoi(found[1])
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	if total == 0 {
		t.Fatal("the agent has sent nothing on a control channel")
	}
	return total
}

// killedAgent kills an agent that has a tunnel; the next one has none.
func (f *fleet) killedAgent(t *testing.T, m *machine) {
	ctx := t.Context()
	c := f.client
	c.device = m.device
	c.connect(ctx)
	c.untilUp(ctx)
	if err := m.process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-m.process.Done()
	if st := c.until(ctx, "the end", func(st tunnelState) bool { return st.State == "ended" }); st.Reason != "agent_lost" {
		t.Errorf("ended as %q", st.Reason)
	}
	f.startAgent(m)
	if peers := f.here("wg", "show", "borealis0", "peers"); peers != "" {
		t.Errorf("a restarted agent has a peer: %q", peers)
	}
	if st := c.status(ctx); st.State != "ended" {
		t.Errorf("a restarted agent has a tunnel: %+v", st)
	}
}

// logsAgree looks for the last tunnel of a device, with its reason, in both logs and
// in the activity.
func (f *fleet) logsAgree(t *testing.T, m *machine, reason string) {
	f.client.device = m.device
	st := f.client.status(t.Context())
	if st.Reason != reason {
		t.Errorf("the status says %q", st.Reason)
	}
	for _, path := range []string{
		filepath.Join(f.data, "Engine", "Logs", "reverse_tunnel.log"),
		filepath.Join(m.data, "Agent", "Logs", "reverse_tunnel.log"),
	} {
		log, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		up := regexp.MustCompile(`msg=tunnel_up .*tunnel=` + st.TunnelID)
		down := regexp.MustCompile(`msg=tunnel_down .*tunnel=` + st.TunnelID + `.* reason=` + reason)
		if !up.Match(log) || !down.Match(log) {
			t.Errorf("%s lacks the start or the end of %s:\n%s", path, st.TunnelID, log)
		}
	}
	var all struct {
		Activity []struct {
			Kind   string
			Reason string
			Tunnel string `json:"tunnel_id"`
		}
	}
	f.client.do(t.Context(), http.MethodGet, "/api/activity?device_id="+m.device, nil, &all)
	found := false
	for _, e := range all.Activity {
		found = found || e.Kind == "tunnel_down" && e.Tunnel == st.TunnelID && e.Reason == reason
	}
	if !found {
		t.Errorf("the activity lacks the end of %s: %+v", st.TunnelID, all)
	}
}

// stops ends the engine in the middle of a tunnel and looks for what it left behind.
func (f *fleet) stops(t *testing.T) {
	c := f.client
	c.device = f.agents[0].device
	c.connect(t.Context())
	c.untilUp(t.Context())
	if err := f.engine.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := f.engine.Wait(); err != nil {
		t.Errorf("the engine ended with %v", err)
	}
	if links := f.here("ip", "-br", "link"); strings.Contains(links, "borealis0") {
		t.Errorf("links: %s", links)
	}
	if routes := f.here("ip", "route", "show", "table", "all"); strings.Contains(routes, "10.255.") {
		t.Errorf("routes: %s", routes)
	}
	if left, err := filepath.Glob("/run/wireguard/*"); err != nil || len(left) > 0 {
		t.Errorf("sockets: %q %v", left, err)
	}
}
