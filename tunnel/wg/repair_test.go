package wg_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/tunnel/wg"
)

// meddle changes an interface's device as another program of the host does with wg(8).
func meddle(t testing.TB, i *wg.Interface, c wgtypes.Config) {
	t.Helper()
	if i.Mode() == wg.Netstack {
		if err := wg.Meddle(i, uapi(c)); err != nil {
			t.Fatal(err)
		}
		return
	}
	client, err := wgctrl.New()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ConfigureDevice(i.Name(), c); err != nil {
		t.Fatal(err)
	}
}

// uapi writes a configuration as a device in this process takes it.
func uapi(c wgtypes.Config) string {
	var b strings.Builder
	if c.PrivateKey != nil {
		fmt.Fprintf(&b, "private_key=%x\n", c.PrivateKey[:])
	}
	if c.ListenPort != nil {
		fmt.Fprintf(&b, "listen_port=%d\n", *c.ListenPort)
	}
	for _, p := range c.Peers {
		fmt.Fprintf(&b, "public_key=%x\n", p.PublicKey[:])
		if p.Remove {
			b.WriteString("remove=true\n")
		}
		if p.PresharedKey != nil {
			fmt.Fprintf(&b, "preshared_key=%x\n", p.PresharedKey[:])
		}
		if p.Endpoint != nil {
			fmt.Fprintf(&b, "endpoint=%s\n", p.Endpoint)
		}
		if p.PersistentKeepaliveInterval != nil {
			fmt.Fprintf(&b, "persistent_keepalive_interval=%d\n", int(p.PersistentKeepaliveInterval.Seconds()))
		}
		if p.ReplaceAllowedIPs {
			b.WriteString("replace_allowed_ips=true\n")
		}
		for _, ip := range p.AllowedIPs {
			fmt.Fprintf(&b, "allowed_ip=%s\n", &ip)
		}
	}
	return b.String()
}

// repaired repairs and compares what it says, without the keys, with what it should say.
func repaired(t testing.TB, i *wg.Interface, want ...string) {
	t.Helper()
	got, err := i.Repair()
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("repaired %q, want %q", got, want)
	}
	for n, part := range want {
		if !strings.Contains(got[n], part) {
			t.Errorf("repaired %q, want %q", got[n], part)
		}
	}
	if again, err := i.Repair(); err != nil || len(again) != 0 {
		t.Errorf("the second repair: %q, %v", again, err)
	}
}

func ipNet(a netip.Addr) net.IPNet {
	return net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(32, 32)}
}

// testRepair changes an interface behind its back, and repairs it.
func testRepair(t *testing.T, mode wg.Mode) {
	for _, c := range []struct {
		name string
		test func(*testing.T, wg.Mode)
	}{
		{"peers", testRepairPeers},
		{"begins the handshake", testRepairSpeaks},
		{"of nothing", testRepairIsNotFooled},
		{"key and port", testRepairDevice},
		{"while the port is taken", testRepairPortTaken},
		{"resurrects nobody", testRepairResurrectsNobody},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, mode) })
	}
}

// testRepairPeers changes the peer of a live tunnel behind the interface's back. What flows in the
// tunnel goes on after the repair, without either end being asked to do anything.
func testRepairPeers(t *testing.T, mode wg.Mode) {
	stranger := newKey(t).PublicKey()
	none := wgtypes.Key{}
	for _, c := range []struct {
		name  string
		peers func(agent wgtypes.Key) []wgtypes.PeerConfig
		want  []string
	}{
		{"nothing", func(wgtypes.Key) []wgtypes.PeerConfig { return nil }, nil},
		{"a foreign peer", func(wgtypes.Key) []wgtypes.PeerConfig {
			return []wgtypes.PeerConfig{{PublicKey: stranger, AllowedIPs: []net.IPNet{ipNet(otherIP)}}}
		}, []string{"was added by somebody else"}},
		{"a foreign peer that takes the address", func(wgtypes.Key) []wgtypes.PeerConfig {
			return []wgtypes.PeerConfig{{PublicKey: stranger, AllowedIPs: []net.IPNet{ipNet(agentIP)}}}
		}, []string{"", ""}}, // in either order
		{"removed", func(agent wgtypes.Key) []wgtypes.PeerConfig {
			return []wgtypes.PeerConfig{{PublicKey: agent, Remove: true}}
		}, []string{"was missing"}},
		{"another address", func(agent wgtypes.Key) []wgtypes.PeerConfig {
			return []wgtypes.PeerConfig{{PublicKey: agent, ReplaceAllowedIPs: true, AllowedIPs: []net.IPNet{ipNet(otherIP)}}}
		}, []string{"had addresses [10.255.1.11/32]"}},
		{"one address more", func(agent wgtypes.Key) []wgtypes.PeerConfig {
			return []wgtypes.PeerConfig{{PublicKey: agent, AllowedIPs: []net.IPNet{ipNet(otherIP)}}}
		}, []string{"had addresses [10.255.1.1"}},
		{"no address", func(agent wgtypes.Key) []wgtypes.PeerConfig {
			return []wgtypes.PeerConfig{{PublicKey: agent, ReplaceAllowedIPs: true}}
		}, []string{"had addresses []"}},
		{"without preshared key", func(agent wgtypes.Key) []wgtypes.PeerConfig {
			return []wgtypes.PeerConfig{{PublicKey: agent, PresharedKey: &none}}
		}, []string{"had another preshared key"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			engine, agent := pair(t, mode)
			out, in := dial(t, engine, serve(t, agent, agentIP, echo)), dial(t, agent, serve(t, engine, engineIP, echo))
			repaired(t, engine)
			meddle(t, engine, wgtypes.Config{Peers: c.peers(agent.PublicKey())})
			repaired(t, engine, c.want...)
			checkTable(t, engine, map[wgtypes.Key]netip.Prefix{agent.PublicKey(): netip.PrefixFrom(agentIP, 32)})
			for name, conn := range map[string]net.Conn{"engine to agent": out, "agent to engine": in} {
				if err := ping(conn, soon); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if _, _, psk, err := wg.Held(engine, agent.PublicKey()); err != nil || psk == none {
				t.Errorf("the preshared key is lost: %v", err)
			}
		})
	}
}

// testRepairSpeaks removes a peer in whose tunnel nothing flows. The handshake comes from this end,
// long before the other one would find out.
func testRepairSpeaks(t *testing.T, mode wg.Mode) {
	engine, agent := pair(t, mode)
	meddle(t, engine, wgtypes.Config{Peers: []wgtypes.PeerConfig{{PublicKey: agent.PublicKey(), Remove: true}}})
	repaired(t, engine, "was missing")
	const beforeTheAgentWould = 10 * time.Second // which sends nothing for 25 seconds
	if err := engine.Handshake(within(t, beforeTheAgentWould), agent.PublicKey()); err != nil {
		t.Error(err)
	}
}

// testRepairIsNotFooled changes what is not for the interface to decide.
func testRepairIsNotFooled(t *testing.T, mode wg.Mode) {
	engine, agent := pair(t, mode)
	every := 7 * time.Second
	meddle(t, engine, wgtypes.Config{Peers: []wgtypes.PeerConfig{{
		PublicKey: agent.PublicKey(), PersistentKeepaliveInterval: &every, Endpoint: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9},
	}}})
	repaired(t, engine)
}

// testRepairDevice changes what the device itself is.
func testRepairDevice(t *testing.T, mode wg.Mode) {
	other, free := newKey(t), 0
	for _, c := range []struct {
		name   string
		config wgtypes.Config
		want   string
	}{
		{"key", wgtypes.Config{PrivateKey: &other}, "The private key was another"},
		{"port", wgtypes.Config{ListenPort: &free}, "Its UDP port was "},
		{"both", wgtypes.Config{PrivateKey: &other, ListenPort: &free}, "Its UDP port was "},
	} {
		t.Run(c.name, func(t *testing.T) {
			engine, agent := pair(t, mode)
			in := dial(t, agent, serve(t, engine, engineIP, echo))
			before, _, _, err := wg.Held(engine, agent.PublicKey())
			if err != nil {
				t.Fatal(err)
			}
			meddle(t, engine, c.config)
			repaired(t, engine, c.want)
			after, port, _, err := wg.Held(engine, agent.PublicKey())
			if err != nil || after != before || port != engine.ListenPort() {
				t.Errorf("port %d, want %d; the key is the same: %t; %v", port, engine.ListenPort(), after == before, err)
			}
			if err := ping(in, soon); err != nil {
				t.Error(err)
			}
		})
	}
}

// testRepairPortTaken takes the UDP port while the device has another.
func testRepairPortTaken(t *testing.T, mode wg.Mode) {
	engine, agent := pair(t, mode)
	at := serve(t, agent, agentIP, echo)
	free := 0
	meddle(t, engine, wgtypes.Config{ListenPort: &free})
	taken, err := net.ListenPacket("udp", fmt.Sprintf(":%d", engine.ListenPort()))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for range 3 {
		if got, err := engine.Repair(); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("repaired %q, %v; want %v", got, err, syscall.EADDRINUSE)
		}
	}
	taken.Close()
	repaired(t, engine, "Its UDP port was ")
	if err := ping(dial(t, engine, at), soon); err != nil {
		t.Error(err)
	}
}

// testRepairResurrectsNobody repairs while peers are removed by their owner, and added and removed
// by another.
func testRepairResurrectsNobody(t *testing.T, mode wg.Mode) {
	engine := open(t, mode, "engine0", engineIP)
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	work.Go(func() {
		for ctx.Err() == nil {
			if _, err := engine.Repair(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for n := range 100 {
		key := newKey(t).PublicKey()
		if err := engine.AddPeer(wg.Peer{PublicKey: key, AllowedIP: addressOf(n)}); err != nil {
			t.Fatal(err)
		}
		meddle(t, engine, wgtypes.Config{Peers: []wgtypes.PeerConfig{{PublicKey: key, Remove: true}}})
		if err := engine.RemovePeer(key); err != nil {
			t.Fatal(err)
		}
		if _, there, err := engine.Peer(key); there || err != nil {
			t.Fatalf("peer %d is there: %t, %v", n, there, err)
		}
	}
	stop()
	work.Wait()
	checkTable(t, engine, map[wgtypes.Key]netip.Prefix{})
	repaired(t, engine)
}

// testOnlyHandshake adds a peer without an address.
func testOnlyHandshake(t *testing.T, mode wg.Mode) {
	engine, agent := open(t, mode, "engine0", engineIP), open(t, wg.Netstack, "agent0", agentIP)
	other := open(t, wg.Netstack, "agent1", otherIP)
	psk := newPSK(t)
	for _, a := range []*wg.Interface{agent, other} { // two of them do not collide
		admit(t, engine, a, netip.Addr{}, psk)
		call(t, a, engine, psk)
		if err := engine.Handshake(within(t, soon), a.PublicKey()); err != nil {
			t.Fatal(err)
		}
	}
	onEngine, onAgent := serve(t, engine, engineIP, echo), serve(t, agent, agentIP, echo)
	nothingPasses := func() {
		t.Helper()
		if c, err := engine.DialTCP(within(t, never), onAgent); err == nil {
			c.Close()
			t.Error("the engine reaches the agent")
		}
		if c, err := agent.DialTCP(within(t, never), onEngine); err == nil {
			c.Close()
			t.Error("the agent reaches the engine")
		}
		c, err := agent.DialUDP(t.Context(), netip.AddrPortFrom(engineIP, 9))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := ping(c, never); !silent(err) { // a refusal would have come back through the tunnel
			t.Errorf("datagram: %v, want silence", err)
		}
	}
	nothingPasses()
	repaired(t, engine)
	if err := engine.SetPeers([]wg.Peer{{PublicKey: agent.PublicKey(), PresharedKey: psk}, {PublicKey: other.PublicKey(), PresharedKey: psk}}); err != nil {
		t.Fatal(err)
	}
	call(t, agent, engine, psk)
	if err := engine.Handshake(within(t, soon), agent.PublicKey()); err != nil {
		t.Fatal(err)
	}
	nothingPasses()
	meddle(t, engine, wgtypes.Config{Peers: []wgtypes.PeerConfig{{PublicKey: agent.PublicKey(), AllowedIPs: []net.IPNet{ipNet(agentIP)}}}})
	repaired(t, engine, "had addresses [10.255.1.10/32]")
	nothingPasses()
	admit(t, engine, agent, agentIP, psk)
	call(t, agent, engine, psk)
	if err := ping(dial(t, agent, onEngine), soon); err != nil {
		t.Errorf("with an address: %v", err)
	}
}

// TestOnlyHandshakeOnTheAgent has the other end take nothing either.
func TestOnlyHandshakeOnTheAgent(t *testing.T) {
	t.Parallel()
	engine, agent := open(t, wg.Netstack, "engine0", engineIP), open(t, wg.Netstack, "agent0", agentIP)
	admit(t, engine, agent, agentIP, wgtypes.Key{})
	err := agent.AddPeer(wg.Peer{PublicKey: engine.PublicKey(), Endpoint: endpointOf(engine), Keepalive: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []struct{ here, there *wg.Interface }{{engine, agent}, {agent, engine}} {
		if err := h.here.Handshake(within(t, soon), h.there.PublicKey()); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := engine.DialTCP(within(t, never), serve(t, agent, agentIP, echo)); !silent(err) {
		t.Errorf("engine to agent: %v, %v; want silence", c, err)
	}
	if c, err := agent.DialTCP(within(t, never), serve(t, engine, engineIP, echo)); !silent(err) {
		t.Errorf("agent to engine: %v, %v; want silence", c, err)
	}
}

func TestNetstackHasNoNews(t *testing.T) {
	t.Parallel()
	if i := open(t, wg.Netstack, "engine0", engineIP); i.Changed() != nil {
		t.Error("there is news of a host that has nothing of the interface")
	}
}

// TestRepairAfterClose repairs what is gone.
func TestRepairAfterClose(t *testing.T) {
	t.Parallel()
	i := open(t, wg.Netstack, "engine0", engineIP)
	i.Close()
	if what, err := i.Repair(); !errors.Is(err, net.ErrClosed) || len(what) != 0 {
		t.Errorf("%q, %v; want %v", what, err, net.ErrClosed)
	}
}
