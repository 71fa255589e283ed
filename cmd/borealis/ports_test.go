//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"borealis/tunnel/wg/nstest"
)

// portsState is what the API says of a device's ports, as far as these tests look at it.
type portsState struct {
	Revision int64    `json:"revision"`
	Allowed  []string `json:"allowed_ports"`
	Proof    *struct {
		Revision  int64    `json:"revision"`
		By        string   `json:"by"`
		Confirmed bool     `json:"confirmed"`
		Allowed   int      `json:"allowed"`
		Answering int      `json:"answering"`
		Refused   int      `json:"refused"`
		OK        bool     `json:"ok"`
		Alarms    []string `json:"alarms"`
	} `json:"proof"`
	Code string `json:"code"`
}

// wanted is what a device's ports are to be; a service that is missing has its default.
type wanted struct {
	Services map[string]choice `json:"services"`
	Custom   []customPort      `json:"custom"`
}

type choice struct {
	Allowed bool   `json:"allowed"`
	For     int    `json:"for_seconds,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

type customPort struct {
	Protocol string `json:"protocol"`
	From     int    `json:"from"`
	To       int    `json:"to"`
	Label    string `json:"label,omitempty"`
	For      int    `json:"for_seconds,omitempty"`
}

func tcpPort(n int) customPort { return customPort{Protocol: "tcp", From: n, To: n} }
func udpPort(n int) customPort { return customPort{Protocol: "udp", From: n, To: n} }

// ports reads the ports of the client's device.
func (c *client) ports(ctx context.Context) portsState {
	c.t.Helper()
	var p portsState
	if code := c.do(ctx, http.MethodGet, "/api/devices/"+c.device+"/ports", nil, &p); code != http.StatusOK {
		c.t.Fatalf("ports: %d %+v", code, p)
	}
	return p
}

// setPorts makes w the ports of the client's device; they are in force when it returns.
func (c *client) setPorts(ctx context.Context, w wanted) portsState {
	c.t.Helper()
	p, code := c.tryPorts(ctx, c.ports(ctx).Revision, w)
	if code != http.StatusOK {
		c.t.Fatalf("set ports: %d %+v", code, p)
	}
	return p
}

// tryPorts is setPorts for a revision that may be stale.
func (c *client) tryPorts(ctx context.Context, revision int64, w wanted) (portsState, int) {
	c.t.Helper()
	if w.Services == nil {
		w.Services = map[string]choice{}
	}
	if w.Custom == nil {
		w.Custom = []customPort{}
	}
	body, err := json.Marshal(w)
	if err != nil {
		c.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.base+"/api/devices/"+c.device+"/ports", bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("If-Match", fmt.Sprintf("%q", fmt.Sprint(revision)))
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var p portsState
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
		c.t.Fatal(err)
	}
	return p, resp.StatusCode
}

// proven asks for a proof of what the ports are shown as.
func (c *client) proven(ctx context.Context) portsState {
	c.t.Helper()
	var answer json.RawMessage
	if code := c.do(ctx, http.MethodPost, "/api/devices/"+c.device+"/ports/check", nil, &answer); code != http.StatusOK {
		c.t.Fatalf("check: %d %s", code, answer)
	}
	p := c.ports(ctx)
	if p.Proof == nil {
		c.t.Fatalf("no proof after a check that said %s", answer)
	}
	return p
}

// listens serves echoes on the loopback address of a machine, over TCP and UDP.
func (m *machine) listens(t *testing.T, ports ...int) {
	t.Helper()
	for _, port := range ports {
		at := fmt.Sprintf("127.0.0.1:%d", port)
		err := m.host.Do(func() error {
			l, err := net.Listen("tcp", at)
			if err != nil {
				return err
			}
			u, err := net.ListenPacket("udp", at)
			if err != nil {
				return errors.Join(err, l.Close())
			}
			t.Cleanup(func() { l.Close(); u.Close() })
			go echoStreams(l)
			go echoPackets(u)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func echoStreams(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(c, c); c.Close() }()
	}
}

func echoPackets(u net.PacketConn) {
	for b := make([]byte, 2048); ; {
		n, from, err := u.ReadFrom(b)
		if err != nil {
			return
		}
		_, _ = u.WriteTo(b[:n], from)
	}
}

// answers reports how an echo on a port is reached from the engine's host: nil, or why not.
func answers(protocol, ip string, port int) error {
	c, err := net.DialTimeout(protocol, fmt.Sprintf("%s:%d", ip, port), 10*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	return echoes(c)
}

func echoes(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("?")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

// refused reports whether a connection was refused at once, and not merely lost.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ECONNRESET)
}

// TestPortsOnTheHost changes the ports of live tunnels of an engine that has a network
// interface and rules in the host's firewall.
func TestPortsOnTheHost(t *testing.T) {
	if !nstest.Run(t) {
		return
	}
	nstest.TUN(t)
	out, err := exec.Command("iptables", "-A", "OUTPUT", "-p", "tcp", "--dport", "9", "-m", "comment", "--comment", "another program's", "-j", "DROP").CombinedOutput()
	if err != nil {
		t.Fatalf("iptables: %v %s", err, out)
	}
	before := rules(nstest.Here(t).Output(t, "iptables-save"))
	f := newFleet(t)
	if with := rules(f.here("iptables-save")); !strings.Contains(with, before) || with == before {
		t.Errorf("with ours the rules are\n%s", with)
	}
	for _, m := range f.agents {
		m.listens(t, 7001, 7002)
	}
	t.Run("closed although a server listens", f.closedPorts)
	t.Run("toggle cuts that flow alone", f.toggles)
	t.Run("rules live as long as the tunnel", f.rulesFollowTunnels)
	t.Run("flushed rules come back", f.flushed)
	t.Run("override expires", f.expires)
	t.Run("killed engine", f.killedEngine)
	t.Run("engine killed at any change", f.killedAtAnyChange)
	t.Run("nothing is left", func(t *testing.T) {
		f.stops(t)
		if left := rules(f.here("iptables-save")); left != "" { // another part flushed the other program's
			t.Errorf("rules are left: %s", left)
		}
		if left := f.here("ip6tables-save"); strings.Contains(left, "BRL-") {
			t.Errorf("IPv6 rules are left: %s", left)
		}
	})
}

// rules is what iptables-save says without its comments, and without the empty table
// that it makes by looking.
func rules(saved string) string {
	var all strings.Builder
	for line := range strings.Lines(saved) {
		if strings.HasPrefix(line, "-") {
			all.WriteString(line)
		}
	}
	return all.String()
}

// up connects the client to a machine and returns its address.
func (f *fleet) up(t *testing.T, m *machine) (*client, string) {
	t.Helper()
	c := newClient(t, f.client.base, f.client.token)
	c.device = m.device
	c.connect(t.Context())
	return c, c.untilUp(t.Context()).VirtualIP
}

func (f *fleet) closedPorts(t *testing.T) {
	c, ip := f.up(t, f.agents[0])
	c.setPorts(t.Context(), wanted{Custom: []customPort{tcpPort(7001), udpPort(7001)}})
	for _, protocol := range []string{"tcp", "udp"} {
		if err := answers(protocol, ip, 7001); err != nil {
			t.Errorf("7001/%s, which is allowed: %v", protocol, err)
		}
		if err := answers(protocol, ip, 7002); !refused(err) {
			t.Errorf("7002/%s, which is not allowed: %v", protocol, err)
		}
	}
	other := exec.Command("/bin/bash", "-c", "exec 3<>/dev/tcp/"+ip+"/7001")
	other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	if out, err := other.CombinedOutput(); errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EPERM) {
		t.Logf("this namespace has one user only: %v", err) // the packet filter's own tests set another owner instead
	} else if err == nil || !strings.Contains(string(out), "refused") {
		t.Errorf("another user of the engine's host: %v %s", err, out)
	}
	p := c.proven(t.Context())
	if p.Proof.By != "iptables" || !p.Proof.OK || !p.Proof.Confirmed || p.Proof.Answering < 2 || p.Proof.Refused < 50 {
		t.Errorf("the proof is %+v", *p.Proof)
	}
}

func (f *fleet) toggles(t *testing.T) {
	ctx := t.Context()
	open := wanted{Custom: []customPort{tcpPort(7001), tcpPort(7002)}}
	var flows [2]net.Conn
	var clients [2]*client
	var ips [2]string
	for i, m := range f.agents {
		clients[i], ips[i] = f.up(t, m)
		clients[i].setPorts(ctx, open)
		c, err := net.Dial("tcp", ips[i]+":7001")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := echoes(c); err != nil {
			t.Fatal(err)
		}
		flows[i] = c
	}
	same, err := net.Dial("tcp", ips[0]+":7002")
	if err != nil {
		t.Fatal(err)
	}
	defer same.Close()
	clients[0].setPorts(ctx, wanted{Custom: []customPort{tcpPort(7002)}})
	if err := answers("tcp", ips[0], 7001); !refused(err) {
		t.Errorf("a port that was just closed: %v", err)
	}
	if err := flows[0].SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := flows[0].Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the open flow of a port that was closed: %v", err)
	}
	for name, c := range map[string]net.Conn{"another port": same, "another device": flows[1]} {
		if err := echoes(c); err != nil {
			t.Errorf("the flow of %s: %v", name, err)
		}
	}
	clients[0].setPorts(ctx, open)
	if err := answers("tcp", ips[0], 7001); err != nil {
		t.Errorf("opened again: %v", err)
	}
}

func (f *fleet) rulesFollowTunnels(t *testing.T) {
	c, ip := f.up(t, f.agents[0])
	if saved := f.here("iptables-save"); !strings.Contains(saved, ":BRL-A-"+ip+" ") || !strings.Contains(saved, "-A OUTPUT -o borealis0 -j BRL-OUT") {
		t.Errorf("a tunnel is up without its rules:\n%s", saved)
	}
	c.do(t.Context(), http.MethodDelete, "/api/tunnel/disconnect?device_id="+c.device, nil, nil)
	if saved := f.here("iptables-save"); strings.Contains(saved, "BRL-A-"+ip) {
		t.Errorf("a tunnel is down and its rules are there:\n%s", saved)
	}
}

// flushed lets another program sweep our rules away; they come back, and it is recorded.
func (f *fleet) flushed(t *testing.T) {
	c, ip := f.up(t, f.agents[0])
	c.setPorts(t.Context(), wanted{Custom: []customPort{tcpPort(7001)}})
	want := f.ourRules()
	for _, sweep := range []string{"iptables -F", `printf '*filter\nCOMMIT\n' | iptables-restore`, "iptables -I OUTPUT -j ACCEPT", "ip6tables -F"} {
		repairs := f.repairs()
		f.here("sh", "-c", sweep)
		// The device's own end refuses, whatever the engine's host does.
		if err := answers("tcp", ip, 7002); !refused(err) {
			t.Errorf("after %s, a port that is not allowed: %v", sweep, err)
		}
		f.eventually("the rules after "+sweep, func() bool {
			return f.repairs() > repairs && f.ourRules() == want && strings.Contains(f.here("ip6tables-save"), "-A OUTPUT -o borealis0") &&
				strings.HasPrefix(f.here("iptables", "-S", "OUTPUT"), "-P OUTPUT ACCEPT\n-A OUTPUT -o borealis0 -j BRL-OUT\n")
		})
	}
	f.here("iptables", "-D", "OUTPUT", "-j", "ACCEPT") // another program's change behind ours is nothing to repair
	if st := c.status(t.Context()); !st.Up {
		t.Errorf("the tunnel did not survive: %+v", st)
	}
}

// repairs is how many repairs of the firewall the activity tells of.
func (f *fleet) repairs() int {
	var all struct{ Activity []struct{ Kind string } }
	f.client.do(f.t.Context(), http.MethodGet, "/api/activity", nil, &all)
	n := 0
	for _, a := range all.Activity {
		if a.Kind == "firewall_repaired" {
			n++
		}
	}
	return n
}

// ourRules are the rules that lead into our chains or are in them.
func (f *fleet) ourRules() string {
	var all strings.Builder
	for line := range strings.Lines(rules(f.here("iptables-save"))) {
		if strings.Contains(line, "BRL-") {
			all.WriteString(line)
		}
	}
	return all.String()
}

func (f *fleet) expires(t *testing.T) {
	c, ip := f.up(t, f.agents[0])
	short := tcpPort(7001)
	short.For = 2
	c.setPorts(t.Context(), wanted{Custom: []customPort{short, tcpPort(7002)}})
	if err := answers("tcp", ip, 7001); err != nil {
		t.Errorf("before the end: %v", err)
	}
	f.eventually("the end of the override", func() bool { return refused(answers("tcp", ip, 7001)) })
	if err := answers("tcp", ip, 7002); err != nil {
		t.Errorf("the port without an end: %v", err)
	}
	for _, p := range c.ports(t.Context()).Allowed {
		if p == "7001/tcp" {
			t.Error("a port that has expired is shown as allowed")
		}
	}
}

// killedEngine kills the engine in the middle of a tunnel: the next one begins clean,
// and the policy is what it was.
func (f *fleet) killedEngine(t *testing.T) {
	c, ip := f.up(t, f.agents[0])
	c.setPorts(t.Context(), wanted{Custom: []customPort{tcpPort(7002)}})
	if err := f.engine.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-f.engine.Done()
	if saved := f.here("iptables-save"); !strings.Contains(saved, "BRL-A-"+ip) {
		t.Errorf("the kill proves nothing, the rules were gone:\n%s", saved)
	}
	f.startEngine()
	if saved := f.here("iptables-save"); strings.Contains(saved, "BRL-A-") || !strings.Contains(saved, "BRL-OUT") {
		t.Errorf("after the restart:\n%s", saved)
	}
	f.agentsOnline(t)
	f.client.device = c.device
	if st := f.client.status(t.Context()); st.Reason != "engine_restart" {
		t.Errorf("the tunnel of the killed engine: %+v", st)
	}
	_, ip = f.up(t, f.agents[0])
	if err := answers("tcp", ip, 7002); err != nil {
		t.Errorf("a port that was allowed before the restart: %v", err)
	}
	if err := answers("tcp", ip, 7001); !refused(err) {
		t.Errorf("a port that was not: %v", err)
	}
}

// killer stands before iptables-nft-restore and kills the engine at its n-th run, before
// or after the change.
const killer = `#!/bin/sh
n=$(($(cat "$KILL_COUNT") + 1))
echo $n >"$KILL_COUNT"
[ $n = "$KILL_AT" ] && [ "$KILL_WHEN" = before ] && kill -9 $PPID
/usr/sbin/iptables-nft-restore "$@"
status=$?
[ $n = "$KILL_AT" ] && kill -9 $PPID
exit $status
`

// killedAtAnyChange kills the engine before and after each change that it makes to the
// rules while a tunnel comes up, its ports change, and it goes. The next engine has no
// tunnel, and its rules are those of no tunnel.
func (f *fleet) killedAtAnyChange(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "iptables-nft-restore"), []byte(killer), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr/sbin/iptables-nft", filepath.Join(bin, "iptables-nft")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr/sbin/iptables-nft-save", filepath.Join(bin, "iptables-nft-save")); err != nil {
		t.Fatal(err)
	}
	f.stopEngine(t)
	for _, m := range f.agents {
		m.stop()
	}
	for at, last := 1, false; !last; at++ {
		for _, when := range []string{"before", "after"} {
			last = f.doomedJob(t, bin, at, when)
			f.startEngine()
			saved := f.here("iptables-save")
			if strings.Contains(saved, "BRL-A-") || strings.Contains(saved, "BRL-D-") || !strings.Contains(saved, "-A OUTPUT -o borealis0 -j BRL-OUT") {
				t.Errorf("killed %s change %d; the next engine has\n%s", when, at, saved)
			}
			if peers := f.here("wg", "show", "borealis0", "peers"); peers != "" {
				t.Errorf("killed %s change %d; the next engine has the peers %s", when, at, peers)
			}
			f.stopEngine(t)
			if left := rules(f.here("iptables-save")); strings.Contains(left, "BRL-") {
				t.Errorf("killed %s change %d; after the next engine's end there is\n%s", when, at, left)
			}
		}
		if last {
			t.Logf("killed before and after each of %d changes", at-1)
		} else if at > 20 {
			t.Fatal("the engine does not stop changing rules")
		}
	}
	f.startEngine()
	for _, m := range f.agents {
		f.startAgent(m)
	}
}

// stop kills the agent.
func (m *machine) stop() {
	_ = m.process.Signal(syscall.SIGKILL) // it may be dead
	<-m.process.Done()
}

// doomedJob starts an engine that is killed at a change of the rules, and has it do the
// job. It reports whether the job was done before.
func (f *fleet) doomedJob(t *testing.T, bin string, at int, when string) (done bool) {
	count := filepath.Join(bin, "count")
	if err := os.WriteFile(count, []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(filepath.Join(f.bin, "borealis"), "serve", "--data", f.data, "--listen", ":8443", "--link", "tun")
	c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "KILL_COUNT="+count, "KILL_AT="+strconv.Itoa(at), "KILL_WHEN="+when)
	f.engine = f.host.Start(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer cancel()
		<-f.engine.Done()
	}()
	if !f.insist(ctx, http.MethodGet, "/healthz", "") {
		return false
	}
	a := f.agents[0] // a new one finds the engine at once
	a.process = a.host.Start(t, exec.Command(filepath.Join(f.bin, "borealis-agent"), "run", "--data", a.data, "--shell", "/bin/sh"))
	defer a.stop()
	for _, step := range []struct {
		method, path, body string
	}{
		{http.MethodPost, "/api/tunnel/connect", fmt.Sprintf(`{"device_id":%q}`, a.device)},
		{http.MethodPost, "/api/devices/" + a.device + "/ports/check", ""}, // succeeds when the tunnel is up
		{http.MethodPut, "/api/devices/" + a.device + "/ports", `{"services":{"rdp":{"allowed":true}},"custom":[]}`},
		{http.MethodPut, "/api/devices/" + a.device + "/ports", `{"services":{"rdp":{"allowed":false}},"custom":[]}`},
		{http.MethodDelete, "/api/tunnel/disconnect?device_id=" + a.device, ""},
	} {
		if !f.insist(ctx, step.method, step.path, step.body) {
			return false
		}
	}
	f.stopEngine(t)
	return true
}

// insist repeats a request until it succeeds, and reports false when the engine died.
func (f *fleet) insist(ctx context.Context, method, path, body string) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if f.client.succeeds(ctx, method, path, body) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// succeeds makes a request of an engine that may die any time. A change of ports is for
// the revision that is there.
func (c *client) succeeds(ctx context.Context, method, path, body string) bool {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if method == http.MethodPut {
		get, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, http.NoBody)
		if err != nil {
			return false
		}
		get.Header.Set("Authorization", "Bearer "+c.token)
		answer, err := c.http.Do(get)
		if err != nil {
			return false
		}
		answer.Body.Close()
		req.Header.Set("If-Match", answer.Header.Get("ETag"))
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// stopEngine ends the engine in an orderly way, or finds it dead.
func (f *fleet) stopEngine(t *testing.T) {
	t.Helper()
	_ = f.engine.Signal(syscall.SIGTERM) // it may be dead
	<-f.engine.Done()
}

func (f *fleet) agentsOnline(t *testing.T) {
	t.Helper()
	for _, m := range f.agents {
		f.eventually("the agents", func() bool {
			var d struct{ Online bool }
			f.client.do(t.Context(), http.MethodGet, "/api/devices/"+m.device, nil, &d)
			return d.Online
		})
	}
}

// TestPortsInsideTheEngine is the same without an interface: WireGuard and its network
// are inside the engine, so nothing but the engine has a way into a tunnel.
func TestPortsInsideTheEngine(t *testing.T) {
	if !nstest.Run(t) {
		return
	}
	f := newFleet(t, "--link", "netstack")
	lan := nstest.NewHost(t, "lan")
	nstest.Join(t, f.host, netip.MustParsePrefix("203.0.113.1/24"), lan, netip.MustParsePrefix("203.0.113.2/24"))
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := f.agents[0]
	a.listens(t, 7001, 7002)
	c, ip := f.up(t, a)
	c.setPorts(t.Context(), wanted{Custom: []customPort{tcpPort(7001), udpPort(7001)}})
	p := c.proven(t.Context())
	if p.Proof.By != "dialer" || !p.Proof.OK || !p.Proof.Confirmed || p.Proof.Answering < 2 || p.Proof.Refused < 50 {
		t.Errorf("the proof is %+v", *p.Proof)
	}
	c.setPorts(t.Context(), wanted{})
	if p := c.proven(t.Context()); !p.Proof.OK || p.Proof.Answering != 1 {
		t.Errorf("after the reset the proof is %+v", *p.Proof)
	}
	for name, from := range map[string]*nstest.Host{"the engine's host": f.host, "the LAN": lan, "the other agent": f.agents[1].host, "the agent itself": a.host} {
		err := from.Do(func() error {
			c, err := net.DialTimeout("tcp", ip+":7001", time.Second)
			if err == nil {
				c.Close()
			}
			return err
		})
		if err == nil {
			t.Errorf("%s reaches into the tunnel", name)
		}
	}
	if saved, err := exec.Command("iptables-save").Output(); err == nil && strings.Contains(string(saved), "BRL-") {
		t.Errorf("rules without an interface:\n%s", saved)
	}
}
