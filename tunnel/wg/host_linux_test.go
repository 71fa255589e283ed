package wg_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/tunnel/wg"
	"borealis/tunnel/wg/nstest"
)

// hostState is everything of the host that an interface touches, as text.
func hostState(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		addresses, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "link %s %s mtu %d %v\n", l.Attrs().Name, l.Type(), l.Attrs().MTU, addresses)
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		fmt.Fprintf(&b, "route %s via %d from %s scope %s\n", r.Dst, r.LinkIndex, r.Src, r.Scope)
	}
	sockets, err := os.ReadDir("/var/run/wireguard")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, s := range sockets {
		fmt.Fprintf(&b, "socket %s\n", s.Name())
	}
	return b.String()
}

// untouched fails the test unless the host is as it was.
func untouched(t *testing.T, before string) {
	t.Helper()
	if diff := cmp.Diff(before, hostState(t)); diff != "" {
		t.Errorf("the host is not as it was (-before +after):\n%s", diff)
	}
}

// run runs a program of this machine, or skips the test when it is not installed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		nstest.Skip(t, name+" is not installed")
	}
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// testOnTheHost looks at a host interface with the eyes of the host.
func testOnTheHost(t *testing.T, mode wg.Mode) {
	before := hostState(t)
	i := open(t, mode, "borealis0", engineIP)
	link, err := netlink.LinkByName("borealis0")
	if err != nil {
		t.Fatal(err)
	}
	if link.Attrs().MTU != 1420 || link.Attrs().Flags&net.FlagUp == 0 {
		t.Errorf("link has MTU %d and flags %s", link.Attrs().MTU, link.Attrs().Flags)
	}
	addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	if len(addresses) != 1 || addresses[0].IPNet.String() != "10.255.0.1/32" {
		t.Errorf("addresses are %v, want only 10.255.0.1/32, and none of IPv6", addresses)
	}
	routes, err := netlink.RouteList(link, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	if len(routes) != 1 || routes[0].Dst.String() != pool.String() || !routes[0].Src.Equal(engineIP.AsSlice()) {
		t.Errorf("routes are %v, want %s from %s", routes, pool, engineIP)
	}
	if i.Mode() != mode || i.Name() != "borealis0" || i.Reason() == "" {
		t.Errorf("mode %s, name %s, reason %q", i.Mode(), i.Name(), i.Reason())
	}
	checkWithTools(t, i)
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	untouched(t, before)
}

// checkWithTools compares what wg(8) of wireguard-tools sees with what was set.
func checkWithTools(t *testing.T, i *wg.Interface) {
	t.Helper()
	psk, key := newPSK(t), newKey(t).PublicKey()
	err := i.AddPeer(wg.Peer{
		PublicKey: key, PresharedKey: psk, AllowedIP: agentIP, Keepalive: 25e9,
		Endpoint: netip.MustParseAddrPort("127.0.0.1:9"),
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(run(t, "wg", "show", i.Name(), "dump")), "\n")
	if len(lines) != 2 {
		t.Fatalf("wg shows %d lines, want 2", len(lines))
	}
	self, peer := strings.Split(lines[0], "\t"), strings.Split(lines[1], "\t")
	if diff := cmp.Diff([]string{i.PublicKey().String(), strconv.Itoa(i.ListenPort())}, self[1:3]); diff != "" {
		t.Errorf("wg shows the device as (-want +got):\n%s", diff)
	}
	want := []string{key.String(), psk.String(), "127.0.0.1:9", agentIP.String() + "/32", "0"}
	if diff := cmp.Diff(want, peer[:5]); diff != "" {
		t.Errorf("wg shows the peer as (-want +got):\n%s", diff)
	}
	if err := i.RemovePeer(key); err != nil {
		t.Fatal(err)
	}
	if got := run(t, "wg", "show", i.Name(), "peers"); got != "" {
		t.Errorf("wg still shows peers %s", got)
	}
	run(t, "wg", "set", i.Name(), "peer", key.String(), "allowed-ips", agentIP.String()+"/32")
	checkTable(t, i, map[wgtypes.Key]netip.Prefix{key: netip.PrefixFrom(agentIP, 32)})
}

// testDeletedUnderneath deletes the link of an open interface.
func testDeletedUnderneath(t *testing.T, mode wg.Mode) {
	before := hostState(t)
	i := open(t, mode, "borealis0", engineIP)
	port := i.ListenPort()
	link, err := netlink.LinkByName("borealis0")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(link); err != nil {
		t.Fatal(err)
	}
	select {
	case <-i.Done():
	case <-within(t, soon).Done():
		t.Fatal("the interface does not notice that its link is gone")
	}
	if err := i.AddPeer(wg.Peer{PublicKey: newKey(t).PublicKey(), AllowedIP: agentIP}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("add: %v, want %v", err, net.ErrClosed)
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	untouched(t, before)
	again, err := wg.Open(t.Context(), wg.Config{
		Mode: mode, PrivateKey: newKey(t), Address: engineIP, Route: pool, ListenPort: port,
	})
	if err != nil {
		t.Fatalf("open again on the same port: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// testDownAndUp takes the link down and up again from outside, which costs it its route.
func testDownAndUp(t *testing.T, mode wg.Mode) {
	engine, agent := pair(t, mode)
	at := serve(t, agent, agentIP, echo)
	link, err := netlink.LinkByName(engine.Name())
	if err != nil {
		t.Fatal(err)
	}
	if err := ping(dial(t, engine, at), soon); err != nil {
		t.Fatal(err)
	}
	before := hostState(t)
	routes, end := make(chan netlink.RouteUpdate), make(chan struct{})
	if err := netlink.RouteSubscribe(routes, end); err != nil {
		t.Fatal(err)
	}
	defer func() {
		close(end)
		for range routes { // until the subscription has ended
		}
	}()
	if err := errors.Join(netlink.LinkSetDown(link), netlink.LinkSetUp(link)); err != nil {
		t.Fatal(err)
	}
	for back, ctx := false, within(t, soon); !back; {
		select {
		case r := <-routes:
			back = r.Type == unix.RTM_NEWROUTE && r.Dst != nil && r.Dst.String() == pool.String()
		case <-ctx.Done():
			t.Fatal("the route does not come back")
		}
	}
	if err := ping(dial(t, engine, at), soon); err != nil {
		t.Errorf("after down and up: %v", err)
	}
	untouched(t, before)
}

// plug adds a link that is up and has an address, as another program might.
func plug(t *testing.T, name, address string) netlink.Link {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	link := &netlink.Veth{LinkAttrs: attrs, PeerName: "far-" + name}
	err := netlink.LinkAdd(link)
	if err == nil {
		var a *netlink.Addr
		a, err = netlink.ParseAddr(address)
		err = errors.Join(err, netlink.AddrAdd(link, a), netlink.LinkSetUp(link))
	}
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// refused opens where it must not, and checks that nothing stays behind.
func refused(t *testing.T, c wg.Config, want error) {
	t.Helper()
	before := hostState(t)
	c.PrivateKey, c.Address = newKey(t), engineIP
	if i, err := wg.Open(t.Context(), c); !errors.Is(err, want) {
		t.Errorf("open: %v, %v; want %v", i, err, want)
	}
	untouched(t, before)
}

// testRefusals opens where something is in the way.
func testRefusals(t *testing.T, mode wg.Mode) {
	for _, c := range []struct {
		name          string
		link, address string
		want          error
	}{
		{"foreign link of the same name", "borealis0", "192.0.2.1/24", wg.ErrForeignLink},
		{"pool inside a route", "lan0", "10.9.9.9/8", wg.ErrOverlap},
		{"route inside the pool", "lan0", "10.255.7.1/24", wg.ErrOverlap},
	} {
		t.Run(c.name, func(t *testing.T) {
			link := plug(t, c.link, c.address)
			refused(t, wg.Config{Mode: mode, Route: pool}, c.want)
			if err := netlink.LinkDel(link); err != nil {
				t.Errorf("the other link: %v", err)
			}
		})
	}
	t.Run("second interface of the same name", func(t *testing.T) {
		open(t, mode, "borealis0", engineIP)
		refused(t, wg.Config{Mode: mode}, wg.ErrForeignLink)
	})
	t.Run("port in use", func(t *testing.T) {
		taken, err := net.ListenPacket("udp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		port := taken.LocalAddr().(*net.UDPAddr).Port
		refused(t, wg.Config{Mode: mode, Route: pool, ListenPort: port}, syscall.EADDRINUSE)
	})
	t.Run("default routes do not overlap", func(t *testing.T) {
		plug(t, "wan0", "198.51.100.1/24")
		for _, dst := range []string{"0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"} {
			run(t, "ip", "route", "add", dst, "dev", "wan0")
		}
		open(t, mode, "borealis0", engineIP)
	})
}

// testCycles opens, uses and closes an interface many times.
func testCycles(t *testing.T, mode wg.Mode) {
	descriptors := func() int {
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	before, open := "", 0
	for n := range 20 {
		t.Run("cycle", func(t *testing.T) {
			engine, agent := pair(t, mode)
			c := dial(t, engine, serve(t, agent, agentIP, echo))
			if err := ping(c, soon); err != nil {
				t.Error(err)
			}
		})
		goleak.VerifyNone(t)
		if n == 0 { // the first one leaves what the runtime and the libraries keep for ever
			before, open = hostState(t), descriptors()
		}
	}
	untouched(t, before)
	if now := descriptors(); now > open {
		t.Errorf("%d files are open after 20 cycles, %d after one", now, open)
	}
}

func testListenIsForTheTunnelOnly(t *testing.T, mode wg.Mode) {
	engine, agent := pair(t, mode)
	here, lan := nstest.Here(t), nstest.NewHost(t, "lan")
	nstest.Join(t, here, netip.MustParsePrefix("192.0.2.1/24"), lan, netip.MustParsePrefix("192.0.2.2/24"))
	lan.Output(t, "ip", "route", "add", pool.String(), "via", "192.0.2.1")
	fromLAN := func(to string) error {
		return lan.Do(func() error {
			c, err := net.DialTimeout("tcp", to, soon)
			if err == nil {
				err = c.Close()
			}
			return err
		})
	}
	at := serve(t, engine, engineIP, echo)
	if err := ping(dial(t, agent, at), soon); err != nil {
		t.Fatal(err)
	}
	if err := fromLAN(at.String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("from the LAN: %v, want a refusal", err)
	}
	// An ordinary listener on the same address is reached, so the LAN does get through to here.
	open, err := net.Listen("tcp", netip.AddrPortFrom(engineIP, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := fromLAN(open.Addr().String()); err != nil {
		t.Errorf("from the LAN to an ordinary listener: %v", err)
	}
}
