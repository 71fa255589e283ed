//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"borealis/tunnel/wg/nstest"
)

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
	t.Parallel()
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

// TestPortsInsideTheEngine is the same without an interface: WireGuard and its network
// are inside the engine, so nothing but the engine has a way into a tunnel.
func TestPortsInsideTheEngine(t *testing.T) {
	t.Parallel()
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
