package netfilter

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/acl"
	"borealis/tunnel/wg"
	"borealis/tunnel/wg/nstest"
)

// Addresses of the world: the engine is at .1 of every network.
var (
	engineAt = netip.MustParseAddr("10.255.0.1")
	other    = netip.MustParseAddr("10.255.0.3")

	at = map[string][2]string{
		"engine": {"10.255.0.1", "fd42::1"},
		"A":      {"10.255.0.2", "fd42::2"},
		"B":      {"10.255.0.3", "fd42::3"},
		"LAN":    {"203.0.113.2", "2001:db8::2"},
	}
)

// Networks that are cables to the engine.
const (
	cableA   = "192.0.2"
	cableB   = "198.51.100"
	cableLAN = "203.0.113"
)

// world is an engine that forwards, two hostile agents, and a network behind the engine.
type world struct {
	engine, a, b, lan *nstest.Host
	tunnels           *wg.Interface
	patience          time.Duration // for a probe that must not get through
	users             bool          // whether there is more than one
}

const settings = `
for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$file; done
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
echo 0 65535 >/proc/sys/net/ipv4/ping_group_range || echo 0 0 >/proc/sys/net/ipv4/ping_group_range
`

func newWorld(t *testing.T, mode wg.Mode, patience time.Duration) *world {
	t.Helper()
	w := &world{
		engine: nstest.Here(t), a: nstest.NewHost(t, "A"), b: nstest.NewHost(t, "B"), lan: nstest.NewHost(t, "LAN"),
		patience: patience,
	}
	for net, host := range map[string]*nstest.Host{cableA: w.a, cableB: w.b, cableLAN: w.lan} {
		nstest.Join(t, w.engine, netip.MustParsePrefix(net+".1/24"), host, netip.MustParsePrefix(net+".2/24"))
		host.Output(t, "sh", "-ec", settings)
	}
	sh(t, settings)
	if w.users = manyUsers(t); !w.users {
		t.Log("there is only one user here: the probes of another user are left out")
	}
	cable := strings.Fields(sh(t, "ip -o address show to "+cableLAN+".1"))[1]
	sh(t, "ip -6 address add 2001:db8::1/64 dev "+cable+" nodad")
	w.lan.Output(t, "sh", "-ec", `ip -6 address add 2001:db8::2/64 dev eth0 nodad
		ip route add 10.255.0.0/16 via 203.0.113.1
		ip -6 route add fd42::/64 via 2001:db8::1`)
	w.open(t, mode)
	return w
}

// open starts WireGuard everywhere and the listeners.
func (w *world) open(t *testing.T, mode wg.Mode) {
	t.Helper()
	var keys [3]wgtypes.Key
	for n := range keys {
		var err error
		if keys[n], err = wgtypes.GeneratePrivateKey(); err != nil {
			t.Fatal(err)
		}
	}
	i, err := wg.Open(t.Context(), wg.Config{Mode: mode, PrivateKey: keys[0], Address: engineAt, Route: pool, ListenPort: 30000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	w.tunnels = i
	sh(t, "ip -6 address add fd42::1/64 dev borealis0 nodad")
	for n, agent := range []netip.Addr{device, other} {
		key := keys[n+1].PublicKey()
		if err := i.AddPeer(wg.Peer{PublicKey: key, AllowedIP: agent}); err != nil {
			t.Fatal(err)
		}
		sh(t, fmt.Sprintf("wg set borealis0 peer %s allowed-ips %s/32,fd42::%d/128", key, agent, n+2))
	}
	public := keys[0].PublicKey().String()
	run := func(host *nstest.Host, args ...string) {
		begin(t, host, self("node", args...))
	}
	run(w.engine, "none")
	run(w.lan, "none")
	run(w.a, string(mode), keys[1].String(), public, cableA+".1:30000", at["A"][0], at["A"][1], cableLAN+".0/24", cableB+".0/24", "2001:db8::/64")
	run(w.b, string(mode), keys[2].String(), public, cableB+".1:30000", at["B"][0], at["B"][1], cableLAN+".0/24", cableA+".0/24", "2001:db8::/64")
}

// begin starts a node and waits until it is ready.
func begin(t *testing.T, host *nstest.Host, cmd *exec.Cmd) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	var complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = in, &complaint
	p := host.Start(t, cmd)
	in.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		<-p.Done()
		t.Fatalf("node says %q, %v: %s", line, err, &complaint)
	}
}

// cell is one probe of the table.
type cell struct{ from, what, want string }

// kinds of probes of the table; IPv6 is TCP to the listed port.
var kinds = []string{"listed tcp", "unlisted tcp", "listed udp", "unlisted udp", "icmp", "IPv6", "icmp of IPv6"}

func probeOf(kind, to string) string {
	v4, v6 := at[to][0], at[to][1]
	return map[string]string{
		"listed tcp":   fmt.Sprintf("tcp/%s:%d", v4, listedPort),
		"unlisted tcp": fmt.Sprintf("tcp/%s:%d", v4, unlistedPort),
		"listed udp":   fmt.Sprintf("udp/%s:%d", v4, listedPort),
		"unlisted udp": fmt.Sprintf("udp/%s:%d", v4, unlistedPort),
		"icmp":         "icmp/" + v4,
		"IPv6":         fmt.Sprintf("tcp/[%s]:%d", v6, listedPort),
		"icmp of IPv6": "icmp/" + v6,
	}[kind]
}

// cells is the table: who asks whom for what, and what must come of it with our rules.
func (w *world) cells() []cell {
	var all []cell
	for from, targets := range map[string][]string{
		"engine": {"A", "B", "LAN"}, "other user": {"A", "B", "LAN"},
		"A": {"engine", "B", "LAN"}, "B": {"engine", "A", "LAN"}, "LAN": {"A", "B"},
	} {
		if from == "other user" && !w.users {
			continue
		}
		for _, to := range targets {
			for _, kind := range kinds {
				all = append(all, cell{from, probeOf(kind, to), expected(from, to, kind)})
			}
		}
	}
	all = append(
		all,
		// What our rules do not touch.
		cell{"LAN", fmt.Sprintf("tcp/%s.1:%d", cableLAN, uiPort), answers},
		// The engine by its other addresses, through the tunnel.
		cell{"A", fmt.Sprintf("tcp/%s.1:%d", cableLAN, uiPort), silent},
		cell{"A", fmt.Sprintf("tcp/%s.1:%d", cableB, uiPort), silent},
		cell{"B", fmt.Sprintf("tcp/%s.1:%d", cableA, uiPort), silent},
		// From the port that the engine may reach.
		cell{"A", fmt.Sprintf("tcp/%s:%d/3389", at["engine"][0], uiPort), silent},
		cell{"A", fmt.Sprintf("tcp/%s:%d/3390", at["LAN"][0], uiPort), silent},
	)
	return all
}

// expected is what comes of a probe with our rules, where B has only the listed TCP port.
func expected(from, to, kind string) string {
	outward := from == "engine" || from == "other user"
	switch {
	case outward && to == "LAN":
		return answers
	case outward && strings.Contains(kind, "IPv6"):
		return silent // dropped, and the kernel does not say so
	case from == "engine" && kind == "listed tcp":
		return answers
	case from == "engine" && kind == "listed udp" && to == "A":
		return answers
	case outward:
		return refused
	}
	return silent
}

// check makes the probes and compares; with open, all must answer.
func (w *world) check(t *testing.T, open bool) {
	t.Helper()
	cells := w.cells()
	for n := range cells {
		if open {
			cells[n].want = answers
		}
	}
	by := make(map[string][]cell)
	for _, c := range cells {
		by[c.from] = append(by[c.from], c)
	}
	type answer struct {
		cells   []cell
		results []string
		err     error
	}
	done := make(chan answer)
	for from, cells := range by {
		go func() {
			results, err := w.ask(from, cells)
			done <- answer{cells, results, err}
		}()
	}
	bad := 0
	for range by {
		a := <-done
		if a.err != nil {
			t.Error(a.err)
			continue
		}
		for n, c := range a.cells {
			if a.results[n] != c.want {
				bad++
				t.Errorf("from %s: %s: %s, want %s", c.from, c.what, a.results[n], c.want)
			}
		}
	}
	t.Logf("%d probes, %d not as expected", len(cells), bad)
}

// ask makes the probes of one origin in a process there.
func (w *world) ask(from string, cells []cell) ([]string, error) {
	var args []string
	for _, c := range cells {
		limit := soon
		if c.want == silent {
			limit = w.patience
		}
		args = append(args, limit.String(), c.what)
	}
	cmd := self("probe", args...)
	host := map[string]*nstest.Host{"engine": w.engine, "other user": w.engine, "A": w.a, "B": w.b, "LAN": w.lan}[from]
	if from == "other user" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := host.Do(cmd.Start); err != nil {
		return nil, fmt.Errorf("probe from %s: %w", from, err)
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("probe from %s: %w: %s", from, err, &complaint)
	}
	results := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(results) != len(cells) {
		return nil, fmt.Errorf("probe from %s: %d results for %d probes", from, len(results), len(cells))
	}
	return results, nil
}

// testTable is the whole table, first without our rules, so that the probes are known to see.
func testTable(t *testing.T, mode wg.Mode, patience time.Duration) {
	w := newWorld(t, mode, patience)
	w.check(t, true)
	w.forge(t)
	f, events := start(t, Config{})
	plan := acl.Plan{device: {tcp(listedPort, listedPort), udp(listedPort, listedPort)}, other: {tcp(listedPort, listedPort)}}
	set(t, f, plan)
	w.check(t, false)
	w.counted(t, f)
	w.forgeFromLAN(t, true)
	w.toggle(t, f, plan)
	select {
	case e := <-events:
		t.Errorf("event %+v", e)
	default:
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if after := saved(t, "iptables-nft") + saved(t, "ip6tables-nft"); strings.Contains(after, "-A") || strings.Contains(after, prefix) {
		t.Errorf("after close there is still\n%s", after)
	}
}

// counted compares the counters with what the probes did.
func (w *world) counted(t *testing.T, f *Firewall) {
	t.Helper()
	c, err := f.Counters(t.Context(), device)
	if err != nil {
		t.Fatal(err)
	}
	for port, n := range c.Accepted {
		if n == 0 {
			t.Errorf("no packet to %s was counted", port)
		}
	}
	if c.Refused < 6 {
		t.Errorf("%d refused packets were counted", c.Refused)
	}
	list := sh(t, "iptables-nft -v -S BRL-FWD; iptables-nft -v -S BRL-IN")
	if strings.Contains(list, "-c 0 0 ") {
		t.Errorf("a rule counted nothing:\n%s", list)
	}
}

// forge sends with somebody else's address. The tunnel takes from A what is from A only, so such
// a packet does not even reach our rules; from a network of the engine's it does.
func (w *world) forge(t *testing.T) {
	t.Helper()
	got, stop := w.receive(t)
	defer stop()
	w.send(t, w.a, at["B"][0], "forged by A")
	w.send(t, w.a, at["A"][0], "honest A")
	if got := <-got; got != "honest A" {
		t.Errorf("the engine received %q first", got)
	}
	stop()
	w.forgeFromLAN(t, false)
}

// forgeFromLAN sends from the LAN with the address of A.
func (w *world) forgeFromLAN(t *testing.T, guarded bool) {
	t.Helper()
	got, stop := w.receive(t)
	defer stop()
	w.send(t, w.lan, at["A"][0], "forged by LAN")
	w.send(t, w.lan, at["LAN"][0], "honest LAN")
	want := "forged by LAN"
	if guarded {
		want = "honest LAN"
	}
	if got := <-got; got != want {
		t.Errorf("guarded %v: the engine received %q first, want %q", guarded, got, want)
	}
}

// forgePort is where the engine receives what may be forged.
const forgePort = 7100

// receive returns what reaches the engine until it is stopped.
func (w *world) receive(t *testing.T) (got <-chan string, stop func()) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: forgePort})
	if err != nil {
		t.Fatal(err)
	}
	texts := make(chan string, 10)
	go func() {
		defer close(texts)
		b := make([]byte, 100)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			texts <- string(b[:n])
		}
	}()
	timer := time.AfterFunc(soon, func() { c.Close() })
	return texts, func() {
		timer.Stop()
		c.Close()
		for range texts { // until the reader has ended
		}
	}
}

// send sends one datagram to the engine, through the cable of the LAN or the tunnel of an agent.
func (w *world) send(t *testing.T, host *nstest.Host, from, text string) {
	t.Helper()
	to := net.UDPAddr{IP: net.ParseIP(cableLAN + ".1"), Port: forgePort}
	err := host.Do(func() error {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}, Control: anySource}
		c, err := d.DialContext(t.Context(), "udp4", to.String())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte(text))
		return err
	})
	if err != nil {
		t.Fatalf("send %q: %v", text, err)
	}
}

// anySource lets a socket send from an address that is not this host's.
func anySource(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1) })
	return errors.Join(err, failed)
}

// toggle closes a port under a connection that is open, while another device's goes on.
func (w *world) toggle(t *testing.T, f *Firewall, plan acl.Plan) {
	t.Helper()
	dial := func(network string, to netip.Addr) net.Conn {
		var d net.Dialer
		c, err := d.DialContext(t.Context(), network, netip.AddrPortFrom(to, listedPort).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	ping := func(c net.Conn) error {
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		return once(ctx, c)
	}
	toA, toB, datagrams := dial("tcp", device), dial("tcp", other), dial("udp", device)
	for _, c := range []net.Conn{toA, toB, datagrams} {
		if err := ping(c); err != nil {
			t.Fatal(err)
		}
	}
	set(t, f, acl.Plan{device: {}, other: plan[other]})
	if err := ping(toA); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the connection to the closed port: %v, want it reset", err)
	}
	if err := ping(datagrams); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a datagram to the closed port: %v, want it refused", err)
	}
	if err := ping(toB); err != nil {
		t.Errorf("the connection to another device: %v", err)
	}
	set(t, f, plan)
	if err := ping(dial("tcp", device)); err != nil {
		t.Errorf("after the port was opened again: %v", err)
	}
	if err := ping(toB); err != nil {
		t.Errorf("the connection to another device: %v", err)
	}
}

func TestTable(t *testing.T) {
	if !inside(t) {
		return
	}
	nstest.TUN(t)
	testTable(t, wg.TUN, time.Second)
}
