//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"borealis/agent/checkup"
	"borealis/agent/wire"
	"borealis/tunnel/wg/nstest"
)

// agentSays runs a command of the agent's program on its host, and returns what it prints.
func (f *fleet) agentSays(t *testing.T, m *machine, args ...string) string {
	t.Helper()
	return m.host.Output(t, filepath.Join(f.bin, "borealis-agent"), append(args, "--data", m.data)...)
}

// doctorOf runs the doctor of an agent, which may find what it likes, and returns that by name.
func (f *fleet) doctorOf(t *testing.T, m *machine) map[string]checkup.Finding {
	t.Helper()
	out := m.host.Output(t, "sh", "-c", filepath.Join(f.bin, "borealis-agent")+" doctor --json --data "+m.data+" 2>/dev/null || true")
	var found struct{ Checks []checkup.Finding }
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("the doctor says %s: %v", out, err)
	}
	all := make(map[string]checkup.Finding)
	for _, c := range found.Checks {
		all[c.Name] = c
	}
	return all
}

// agentLog is the log of an agent.
func (m *machine) log(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(m.data, "Agent", "Logs", "reverse_tunnel.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTheWayOfAnAgent breaks it in all its parts, and looks at what happens.
func TestTheWayOfAnAgent(t *testing.T) {
	t.Parallel()
	if !nstest.Run(t) {
		return
	}
	nstest.TUN(t)
	f := newFleet(t)
	a := f.agents[0]
	t.Run("sockets", func(t *testing.T) { f.sockets(t, a) })
	t.Run("doctor", func(t *testing.T) { f.examinesTheWay(t, a) })
	t.Run("NAT rebinding", func(t *testing.T) { f.rebinds(t, a) })
	t.Run("roaming", func(t *testing.T) { f.roams(t, a) })
	t.Run("flap", func(t *testing.T) { f.flaps(t, a) })
	t.Run("sleep and a long flap", func(t *testing.T) { f.sleeps(t, a, f.agents[1]) })
}

// sockets holds the agent to one TCP connection out, and to one UDP port more in a tunnel. It
// never listens, not even on the loopback or for other programs of its host.
func (f *fleet) sockets(t *testing.T, m *machine) {
	all := func() (tcp, udp []string, other string) {
		for line := range strings.Lines(m.host.Output(t, "ss", "-Hant")) {
			if !strings.HasPrefix(line, "TIME-WAIT") { // What was, and holds nothing.
				tcp = append(tcp, strings.TrimSpace(line))
			}
		}
		if text := strings.TrimSpace(m.host.Output(t, "ss", "-Hanu")); text != "" {
			udp = strings.Split(text, "\n")
		}
		return tcp, udp, m.host.Output(t, "ss", "-Hanlx") + m.host.Output(t, "ss", "-Hanw")
	}
	f.eventually("nothing but the channel", func() bool { tcp, _, _ := all(); return len(tcp) == 1 }) // The enrolment has ended.
	tcp, udp, other := all()
	if len(tcp) != 1 || !regexp.MustCompile(`^ESTAB .* \S+:8443\s*$`).MatchString(tcp[0]) || len(udp) != 0 || other != "" {
		t.Errorf("idle it has the sockets %q %q %q, want one TCP connection out", tcp, udp, other)
	}
	c := f.client
	c.device = m.device
	c.connect(t.Context())
	c.untilUp(t.Context())
	tcp, udp, other = all()
	if len(tcp) != 1 || !strings.HasPrefix(tcp[0], "ESTAB") || other != "" {
		t.Errorf("in a tunnel it has the sockets %q %q, want one TCP connection out", tcp, other)
	}
	ports := make(map[string]bool) // WireGuard has one port, with a socket for IPv4 and one for IPv6.
	for _, line := range udp {
		local := strings.Fields(line)[3]
		ports[local[strings.LastIndex(local, ":"):]] = true
	}
	if len(ports) != 1 || len(udp) > 2 {
		t.Errorf("in a tunnel it has the sockets %q, want one UDP port", udp)
	}
	f.disconnect(t, m)
	f.eventually("the UDP port to be closed", func() bool { _, udp, _ := all(); return len(udp) == 0 })
}

// disconnect ends the tunnel of an agent.
func (f *fleet) disconnect(t *testing.T, m *machine) {
	t.Helper()
	f.client.do(t.Context(), http.MethodDelete, "/api/tunnel/disconnect?device_id="+m.device, nil, nil)
}

// examinesTheWay lets the doctor find what the engine's host, or the agent's, lets not through.
func (f *fleet) examinesTheWay(t *testing.T, m *machine) {
	found := f.doctorOf(t, m)
	for _, name := range []string{"identity", "dns", "tcp", "engine", "clock", "channel", "udp", "mtu"} {
		if c := found[name]; !c.OK || strings.Contains(c.Detail, "not looked at") {
			t.Errorf("all is well, but %s: %+v", name, c)
		}
	}
	if c := found["udp"]; !strings.Contains(c.Detail, "UDP 192.0.2.1:30000 answers: out and back") {
		t.Errorf("udp: %+v", c)
	}
	drop := func(chain string, rule ...string) (undo func()) {
		f.here("iptables", append([]string{"-I", chain}, append(rule, "-j", "DROP")...)...)
		return func() { f.here("iptables", append([]string{"-D", chain}, append(rule, "-j", "DROP")...)...) }
	}
	for name, broken := range map[string]struct {
		harm             func() (undo func())
		stage, says, fix string
	}{
		"UDP out": {
			func() func() { return drop("INPUT", "-p", "udp", "--dport", "30000") }, "udp",
			"UDP 30000 is blocked on the way out: nothing that this device sends to 192.0.2.1:30000 arrives", "let UDP out to 192.0.2.1:30000",
		},
		"UDP back": {
			func() func() { return drop("OUTPUT", "-p", "udp", "--sport", "30000") }, "udp",
			"UDP 30000 is blocked on the way back: the engine hears this device", "let the answers from UDP 192.0.2.1:30000 in",
		},
		"a small MTU": {func() func() {
			m.host.Output(t, "ip", "link", "set", "eth0", "mtu", "1400")
			return func() { m.host.Output(t, "ip", "link", "set", "eth0", "mtu", "1500") }
		}, "mtu", "the longest packet to 192.0.2.1:30000 has 1400 bytes", "1480 or more"},
		"TCP dropped": {
			func() func() { return drop("INPUT", "-p", "tcp", "--dport", "8443", "--syn") }, "tcp",
			"192.0.2.1:8443 does not answer: packets get lost", "lets TCP out to 192.0.2.1:8443",
		},
		"no network": {func() func() {
			m.host.Output(t, "ip", "route", "add", "unreachable", "192.0.2.1/32")
			return func() { m.host.Output(t, "ip", "route", "del", "unreachable", "192.0.2.1/32") }
		}, "tcp", "there is no way to 192.0.2.1:8443", "192.0.2.1:8443"},
	} {
		t.Run(name, func(t *testing.T) {
			undo := broken.harm()
			found := f.doctorOf(t, m)
			undo()
			if c := found[broken.stage]; c.OK || !strings.Contains(c.Detail, broken.says) || !strings.Contains(c.Hint, broken.fix) {
				t.Errorf("%s: %+v, want %q and %q", broken.stage, c, broken.says, broken.fix)
			}
		})
	}
	f.client.device = m.device
	f.client.connect(t.Context())
	f.client.untilUp(t.Context())
	defer f.disconnect(t, m)
	f.eventually("the agent to know that its tunnel is up", func() bool { return strings.Contains(f.agentSays(t, m, "status", "--json"), `"up":true`) })
	if c := f.doctorOf(t, m)["udp"]; !c.OK || !strings.Contains(c.Detail, "a tunnel is up") {
		t.Errorf("in a tunnel: %+v", c)
	}
}

// live is a tunnel with a terminal in it.
type live struct {
	fleet *fleet
	st    tunnelState
	term  *term
	said  int
}

// goLive connects an agent and opens a terminal.
func (f *fleet) goLive(t *testing.T, m *machine) *live {
	t.Helper()
	c := newClient(t, f.client.base, f.client.token)
	c.device = m.device
	c.connect(t.Context())
	l := &live{fleet: f, st: c.untilUp(t.Context()), term: c.terminal(t.Context(), "", -1)}
	l.says(t)
	return l
}

// says types something, and waits until the shell says it. It returns how long that took.
func (l *live) says(t *testing.T) time.Duration {
	t.Helper()
	l.said++
	began := time.Now()
	l.term.typed(t.Context(), fmt.Sprintf("echo still $((%d+1000)) there\r", l.said))
	ctx, cancel := context.WithTimeout(t.Context(), longer)
	defer cancel()
	for !strings.Contains(l.term.text.String(), fmt.Sprintf("still %d there", l.said+1000)) {
		l.term.next(ctx)
	}
	return time.Since(began)
}

// same looks that the tunnel is the one that it was.
func (l *live) same(t *testing.T) {
	t.Helper()
	if now := l.term.client.status(t.Context()); !now.Up || now.TunnelID != l.st.TunnelID {
		t.Errorf("the tunnel is %+v, and was %s", now, l.st.TunnelID)
	}
}

// endpoint is where the engine's WireGuard sends to.
func (f *fleet) endpoint() string {
	f.t.Helper()
	shown := strings.Fields(f.here("wg", "show", "borealis0", "endpoints"))
	if len(shown) != 2 {
		f.t.Fatalf("endpoints: %q", shown)
	}
	return shown[1]
}

// rebinds changes the port that a NAT has for the tunnel, in the middle of a terminal.
func (f *fleet) rebinds(t *testing.T, m *machine) {
	nat := func(port int) {
		t.Helper()
		m.host.Output(t, "iptables", "-t", "nat", "-F", "POSTROUTING")
		m.host.Output(t, "iptables", "-t", "nat", "-A", "POSTROUTING", "-p", "udp", "--dport", "30000", "-j", "SNAT", "--to-source", fmt.Sprintf("192.0.2.2:%d", port))
		if err := m.host.Do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) }); err != nil {
			t.Fatal(err)
		}
	}
	nat(40001)
	l := f.goLive(t, m)
	if got := f.endpoint(); got != "192.0.2.2:40001" {
		t.Fatalf("before, the engine sends to %s", got)
	}
	for _, port := range []int{40002, 40003, 40002} {
		flap(t, 3*time.Second) // Nothing of the terminal is under way any more, which would tell the engine.
		nat(port)
		took := l.says(t)
		if got, want := f.endpoint(), fmt.Sprintf("192.0.2.2:%d", port); got != want {
			t.Errorf("the engine sends to %s, want %s", got, want)
		}
		t.Logf("from another port the terminal answers after %v", took.Round(time.Millisecond))
		l.same(t)
	}
	f.disconnect(t, m)
	m.host.Output(t, "iptables", "-t", "nat", "-F", "POSTROUTING")
}

// roams gives the agent's host another address, in the middle of a terminal.
func (f *fleet) roams(t *testing.T, m *machine) {
	l := f.goLive(t, m)
	m.host.Output(t, "ip", "addr", "add", "192.0.2.77/24", "dev", "eth0")
	m.host.Output(t, "ip", "addr", "del", "192.0.2.2/24", "dev", "eth0")
	m.host.Output(t, "ip", "addr", "replace", "192.0.2.77/24", "dev", "eth0") // It may have gone with the first.
	took := l.says(t)
	if got := f.endpoint(); !strings.HasPrefix(got, "192.0.2.77:") {
		t.Errorf("the engine sends to %s", got)
	}
	t.Logf("from another address the terminal answers after %v", took.Round(time.Millisecond))
	f.eventuallyIn(longer, "the channel from the new address", func() bool {
		return strings.Contains(m.host.Output(t, "ss", "-Hnt", "state", "established"), "192.0.2.77")
	})
	l.says(t)
	l.same(t)
	f.disconnect(t, m)
}

// flaps takes the cable away for a while that a tunnel survives.
func (f *fleet) flaps(t *testing.T, m *machine) {
	l := f.goLive(t, m)
	m.host.Output(t, "ip", "link", "set", "eth0", "down")
	flap(t, 20*time.Second)
	m.host.Output(t, "ip", "link", "set", "eth0", "up")
	took := l.says(t)
	t.Logf("after a flap of 20 s the terminal answers after %v", took.Round(time.Millisecond))
	l.same(t)
	f.disconnect(t, m)
	f.eventuallyIn(longer, "the agent to be back", func() bool { return f.online(m) })
}

// flap waits; that is what the test is about.
func flap(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// sleeps stops one agent as a device does that falls asleep, and takes the cable of another one,
// for longer than a tunnel lives without its engine. At the end both are back, without a tunnel,
// and with nothing of what ran in it.
func (f *fleet) sleeps(t *testing.T, cut, asleep *machine) {
	tunnels := make(map[*machine]*live)
	for _, m := range []*machine{cut, asleep} {
		l := f.goLive(t, m)
		l.term.typed(t.Context(), nap+" &\r")
		l.says(t)
		tunnels[m] = l
	}
	cut.host.Output(t, "ip", "link", "set", "eth0", "down")
	if err := asleep.process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	flap(t, wire.Lease+5*time.Second)
	if peers := f.here("wg", "show", "borealis0", "peers"); peers != "" {
		t.Errorf("the engine keeps the peers %s", peers)
	}
	if log := cut.log(t); !regexp.MustCompile(`msg=tunnel_down tunnel=` + tunnels[cut].st.TunnelID + ` reason=agent_lost detail=(channel_lost|lease_expired)`).MatchString(log) {
		t.Errorf("without its engine the agent keeps the tunnel:\n%s", log)
	}
	cut.host.Output(t, "ip", "link", "set", "eth0", "up")
	if err := asleep.process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for m, l := range tunnels {
		f.eventuallyIn(longer, "the tunnel to be gone from the agent", func() bool {
			return strings.Contains(m.log(t), "msg=tunnel_down tunnel="+l.st.TunnelID)
		})
		f.eventuallyIn(longer, "the agent to be back", func() bool { return f.online(m) })
		if left := sleepers(t); left != 0 && m == asleep {
			t.Errorf("%d processes of tunnels are left", left)
		}
		if st := l.term.client.status(t.Context()); st.State != "ended" || st.Reason != "agent_lost" {
			t.Errorf("for the engine the tunnel is %+v", st)
		}
	}
	for m := range tunnels {
		f.goLive(t, m)
		f.disconnect(t, m)
	}
	if left := sleepers(t); left != 0 {
		t.Errorf("%d processes of tunnels are left", left)
	}
}

// nap is what a tunnel's shell starts to be found in the list of processes. Tests run beside each
// other, each in a process of its own, and look for their own only.
var nap = fmt.Sprintf("sleep %d", 1_000_000_000+os.Getpid())

// sleepers counts the processes that the tunnels' shells have started.
func sleepers(t *testing.T) (n int) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		if b, err := os.ReadFile(path); err == nil && string(b) == strings.ReplaceAll(nap, " ", "\x00")+"\x00" {
			n++
		}
	}
	return n
}

// newestRecord is the detail of the newest record of a kind about a device.
func (f *fleet) newestRecord(ctx context.Context, m *machine, kind string) string {
	var all struct {
		Activity []struct {
			Kind   string
			Detail string
		}
	}
	f.client.do(ctx, http.MethodGet, "/api/activity?device_id="+m.device, nil, &all)
	i := slices.IndexFunc(all.Activity, func(e struct {
		Kind   string
		Detail string
	},
	) bool {
		return e.Kind == kind
	})
	if i < 0 {
		return ""
	}
	return all.Activity[i].Detail
}
