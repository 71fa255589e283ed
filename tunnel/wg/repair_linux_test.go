package wg_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/tunnel/wg"
	"borealis/tunnel/wg/nstest"
)

// news waits until somebody has changed the link.
func news(t *testing.T, i *wg.Interface) {
	t.Helper()
	select {
	case <-i.Changed():
	case <-within(t, soon).Done():
		t.Fatal("there is no news of the link")
	}
}

// settled repairs, after news, until there is nothing to do, and returns all that was done.
func settled(t *testing.T, i *wg.Interface) (all []string) {
	t.Helper()
	news(t, i)
	for {
		got, err := i.Repair()
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			return all
		}
		all = append(all, got...)
	}
}

// testRepairHost changes what the host has of a live tunnel's interface.
func testRepairHost(t *testing.T, mode wg.Mode) {
	for _, c := range []struct {
		name     string
		commands []string
		want     string // of what was repaired, in any order
	}{
		{"set down", []string{"ip link set engine0 down"}, "was set down: it is up again"},
		{"down and up", []string{"ip link set engine0 down", "ip link set engine0 up"}, "10.255.0.0/16"},
		{"address", []string{"ip addr del 10.255.0.1/32 dev engine0"}, "The address 10.255.0.1 of engine0 was removed"},
		{"all addresses", []string{"ip addr flush dev engine0"}, "The address 10.255.0.1 of engine0 was removed"},
		{"route", []string{"ip route del 10.255.0.0/16"}, "The route 10.255.0.0/16 via engine0 was removed or replaced"},
		{"route of its own", []string{"ip route replace 10.255.0.0/16 dev engine0"}, "The route 10.255.0.0/16 via engine0"},
		{"route elsewhere", []string{"ip route replace 10.255.0.0/16 dev lan0"}, "The route 10.255.0.0/16 via engine0"},
		{"MTU", []string{"ip link set engine0 mtu 1300"}, "The MTU of engine0 was 1300: it is 1420 again."},
	} {
		t.Run(c.name, func(t *testing.T) {
			lan := plug(t, "lan0", "192.0.2.1/24")
			t.Cleanup(func() { _ = netlink.LinkDel(lan) })
			engine, agent := pair(t, mode)
			at := serve(t, agent, agentIP, echo)
			out, in := dial(t, engine, at), dial(t, agent, serve(t, engine, engineIP, echo))
			before := hostState(t)
			for _, line := range c.commands {
				words := strings.Fields(line)
				run(t, words[0], words[1:]...)
			}
			if all := strings.Join(settled(t, engine), "\n"); !strings.Contains(all, c.want) {
				t.Errorf("repaired:\n%s\nwant %s", all, c.want)
			}
			untouched(t, before)
			for name, conn := range map[string]net.Conn{"engine to agent": out, "agent to engine": in, "new": dial(t, engine, at)} {
				if err := ping(conn, soon); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// testRepairLeavesOthers puts an address and routes beside those of the interface.
func testRepairLeavesOthers(t *testing.T, mode wg.Mode) {
	plug(t, "lan0", "192.0.2.1/24")
	engine, agent := pair(t, mode)
	for _, line := range []string{
		"ip addr add 10.255.0.9/24 dev engine0", "ip addr add 10.255.9.9/24 dev lan0", "ip route add 10.255.0.0/16 dev lan0 metric 7",
		"ip route add 10.255.7.0/24 dev lan0", "ip route add 198.51.100.0/24 dev engine0",
	} {
		words := strings.Fields(line)
		run(t, words[0], words[1:]...)
	}
	before := hostState(t)
	news(t, engine)
	repaired(t, engine)
	untouched(t, before)
	if err := ping(dial(t, engine, serve(t, agent, agentIP, echo)), soon); err != nil {
		t.Error(err)
	}
}

// testRenamed gives the link another name, under which nobody knows it.
func testRenamed(t *testing.T, mode wg.Mode) {
	engine := open(t, mode, "engine0", engineIP)
	link, err := netlink.LinkByName("engine0")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(netlink.LinkSetDown(link), netlink.LinkSetName(link, "other0")); err != nil {
		t.Fatal(err)
	}
	if got, err := engine.Repair(); err == nil || !strings.Contains(err.Error(), "renamed") {
		t.Errorf("repaired %q, %v", got, err)
	}
}

// testMovedAway puts the link into another network namespace.
func testMovedAway(t *testing.T, mode wg.Mode) {
	engine := open(t, mode, "engine0", engineIP)
	link, err := netlink.LinkByName("engine0")
	if err != nil {
		t.Fatal(err)
	}
	moved := nstest.NewHost(t, "other").Do(func() error {
		ns, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		defer ns.Close()
		return nstest.Here(t).Do(func() error { return netlink.LinkSetNsFd(link, int(ns.Fd())) })
	})
	if moved != nil {
		t.Fatal(moved)
	}
	select {
	case <-engine.Done():
	case <-within(t, soon).Done():
		t.Fatal("the interface does not notice that its link is gone")
	}
}

func TestTUNRepairHost(t *testing.T) {
	if insideTUN(t) {
		testRepairHost(t, wg.TUN)
	}
}

func TestTUNRepairLeavesOthers(t *testing.T) {
	if insideTUN(t) {
		testRepairLeavesOthers(t, wg.TUN)
	}
}

func TestTUNRenamed(t *testing.T) {
	if insideTUN(t) {
		testRenamed(t, wg.TUN)
	}
}

func TestTUNMovedAway(t *testing.T) {
	if insideTUN(t) {
		testMovedAway(t, wg.TUN)
	}
}

// TestPortHolder asks for ports of this process, seen and unseen, and for one that nobody has.
func TestPortHolder(t *testing.T) {
	if !insideTUN(t) {
		return
	}
	for _, network := range []string{"udp4", "udp6"} {
		c, err := net.ListenPacket(network, ":30000")
		if err != nil {
			t.Fatal(err)
		}
		comm, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(os.Getpid()), "comm"))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := wg.PortHolder(30000), fmt.Sprintf("%s (pid %d)", strings.TrimSpace(string(comm)), os.Getpid()); got != want {
			t.Errorf("%s: %q, want %q", network, got, want)
		}
		c.Close()
	}
	if got := wg.PortHolder(30000); got != "another program" {
		t.Errorf("of a free port: %q", got)
	}
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:30000")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := unix.Mount("tmpfs", "/proc", "tmpfs", 0, ""); err != nil { // this test's own
		t.Fatal(err)
	}
	if got := wg.PortHolder(30000); got != "a program of user root" {
		t.Errorf("of a process that cannot be seen: %q", got)
	}
	if got := wg.PortHolder(open(t, wg.TUN, "engine0", engineIP).ListenPort()); got != "the WireGuard interface engine0" {
		t.Errorf("of an interface: %q", got)
	}
}

// TestTUNManyPeers repairs a table of a thousand peers.
func TestTUNManyPeers(t *testing.T) {
	if !insideTUN(t) {
		return
	}
	i, keys := manyPeers(t, wg.TUN, 1000)
	begun := time.Now()
	repaired(t, i)
	t.Logf("two repairs with nothing to do: %s", time.Since(begun))
	meddle(t, i, wgtypes.Config{Peers: []wgtypes.PeerConfig{{PublicKey: keys[7], Remove: true}}})
	repaired(t, i, "was missing")
}
