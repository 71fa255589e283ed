package tunnel

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/store"
	"borealis/tunnel/wg"
	"borealis/tunnel/wg/nstest"
)

// byNews makes a manager that is told by the kernel what changes and has no other way to know.
func byNews(c *Config) { c.reconcile = time.Hour }

// often makes a manager that compares, and need not wait long for it.
func often(c *Config) { c.reconcile = 50 * time.Millisecond }

// repairCount counts what is told to be repaired.
type repairCount struct {
	mu    sync.Mutex
	count map[string]int
}

func (n *repairCount) observe(c *Config) {
	n.count = make(map[string]int)
	c.Observe.Repaired = func(what string) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.count[what]++
	}
}

func (n *repairCount) of(what string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.count[what]
}

// ip runs ip(8) once for each line.
func ip(t *testing.T, lines ...string) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		nstest.Skip(t, "ip is not installed")
	}
	for _, line := range lines {
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", line, err, out)
		}
	}
}

// details are those of all records of a kind, one a line.
func (r *rig) details(t *testing.T, kind string) string {
	t.Helper()
	var all strings.Builder
	for _, a := range r.records(t, store.RecordQuery{}) {
		if a.Kind == kind {
			all.WriteString(a.Detail + "\n")
		}
	}
	return all.String()
}

// TestLinkIsRepaired changes the link of a live tunnel. Only the kernel's news can tell the manager.
func TestLinkIsRepaired(t *testing.T) {
	for _, c := range []struct {
		name, want string
		lines      []string
	}{
		{"set down", "The interface borealis0 was set down: it is up again.", []string{"link set borealis0 down"}},
		{"down and up", "10.255.0.0/16", []string{"link set borealis0 down", "link set borealis0 up"}},
		{"address", "The address 10.255.0.1 of borealis0 was removed", []string{"addr del 10.255.0.1/32 dev borealis0"}},
		{"route", "The route 10.255.0.0/16 via borealis0 was removed", []string{"route del 10.255.0.0/16"}},
		{"another's route", "The route 10.255.0.0/16 via borealis0 was removed", []string{
			"link add lan0 type veth peer name far0", "link set lan0 up", "route replace 10.255.0.0/16 dev lan0",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !inNamespace(t) {
				return
			}
			var n repairCount
			r := newRig(t, onTUN, byNews, n.observe)
			h := r.join(t)
			st := r.up(t, h, holder("nora"))
			begun := time.Now()
			ip(t, c.lines...)
			r.until(t, func() bool { return strings.Contains(r.details(t, "link_repaired"), c.want) })
			t.Logf("on record after %s: %s", time.Since(begun), r.details(t, "link_repaired"))
			r.flows(t, st.TunnelID)
			if n.of("link") == 0 || n.of("peer") != 0 {
				t.Errorf("told %v", n.count)
			}
		})
	}
}

// flows checks that a tunnel is not only up but alive.
func (r *rig) flows(t *testing.T, tunnelID string) {
	t.Helper()
	s := r.session(tunnelID)
	if s == nil || s.closing() {
		t.Fatal("the tunnel has ended")
	}
	if err := s.probe(t.Context(), 15*time.Second); err != nil {
		t.Errorf("nothing flows: %v", err)
	}
}

// TestPeersAreRepaired changes the peers of the interface as wg(8) does. Nobody is told of that.
func TestPeersAreRepaired(t *testing.T) {
	stranger, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	far := []net.IPNet{{IP: net.IPv4(10, 255, 0, 77), Mask: net.CIDRMask(32, 32)}}
	for _, c := range []struct {
		name, want string
		change     func(agent wgtypes.Key) wgtypes.PeerConfig
	}{
		{"removed", "was missing", func(agent wgtypes.Key) wgtypes.PeerConfig {
			return wgtypes.PeerConfig{PublicKey: agent, Remove: true}
		}},
		{"foreign", "was added by somebody else", func(wgtypes.Key) wgtypes.PeerConfig {
			return wgtypes.PeerConfig{PublicKey: stranger.PublicKey(), AllowedIPs: far}
		}},
		{"another address", "had addresses [10.255.0.77/32]", func(agent wgtypes.Key) wgtypes.PeerConfig {
			return wgtypes.PeerConfig{PublicKey: agent, ReplaceAllowedIPs: true, AllowedIPs: far}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !inNamespace(t) {
				return
			}
			var n repairCount
			r := newRig(t, onTUN, often, n.observe)
			h := r.join(t)
			st := r.up(t, h, holder("nora"))
			configure(t, wgtypes.Config{Peers: []wgtypes.PeerConfig{c.change(r.session(st.TunnelID).agentKey)}})
			r.until(t, func() bool { return strings.Contains(r.details(t, "link_repaired"), c.want) })
			t.Log(r.details(t, "link_repaired"))
			r.flows(t, st.TunnelID)
			if got := r.peers(t); got != 1 {
				t.Errorf("%d peers", got)
			}
			if n.of("peer") != 1 || n.of("link") != 0 {
				t.Errorf("told %v", n.count)
			}
			if _, err := r.Disconnect(t.Context(), h.device.ID, holder("nora"), false); err != nil {
				t.Fatal(err)
			}
			i, err := r.openLink()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := i.Repair(); err != nil || r.peers(t) != 0 {
				t.Errorf("%d peers after the tunnel, %v", r.peers(t), err)
			}
		})
	}
}

// linkLost waits until the link of a live tunnel is lost and open again, and checks what became of the
// tunnel, why, and that the next one works.
func (r *rig) linkLost(t *testing.T, h *host, st Status, old *wg.Interface, why string) {
	t.Helper()
	r.until(t, func() bool { i, err := r.openLink(); return err == nil && i != old })
	if got := r.ending(t, st.TunnelID); got != InternalError {
		t.Errorf("the tunnel ended as %s", got)
	}
	down := r.records(t, store.RecordQuery{TunnelID: st.TunnelID, Kind: "tunnel_down"})
	if len(down) != 1 || !strings.Contains(down[0].Detail, why) {
		t.Errorf("on record: %+v", down)
	}
	r.until(t, func() bool { return strings.HasSuffix(r.engineKinds(t, "link"), "link_lost link_open") })
	if got := r.details(t, "link_lost"); !strings.Contains(got, why) {
		t.Errorf("on record: %s", got)
	}
	if got := ownRules(t); strings.Contains(got, "BRL-A-") || !strings.Contains(got, "BRL-OUT") {
		t.Errorf("rules of a tunnel that is gone:\n%s", got)
	}
	r.flows(t, r.up(t, h, holder("nora")).TunnelID)
}

// TestDeletedLinkIsMadeAgain deletes the link of a live tunnel. Nothing waits before it is there
// again, for the pause between two attempts would be an hour.
func TestDeletedLinkIsMadeAgain(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	r := newRig(t, onTUN, byNews, func(c *Config) { c.reopen = time.Hour })
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	old, err := r.openLink()
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	ip(t, "link del borealis0")
	r.until(t, func() bool { i, err := r.openLink(); return err == nil && i != old })
	t.Logf("open again after %s", time.Since(begun))
	r.linkLost(t, h, st, old, "was deleted by another program")
}

// TestFightForTheLink deletes the link whenever it is there. The engine does not make it for ever
// without a pause.
func TestFightForTheLink(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	r := newRig(t, onTUN, byNews, func(c *Config) { c.reopen = time.Hour })
	var old *wg.Interface
	for range reopenAtOnce + 1 {
		r.until(t, func() bool {
			i, err := r.openLink()
			if err != nil || i == old {
				return false
			}
			old = i
			return true
		})
		ip(t, "link del borealis0")
	}
	want := strings.Repeat("link_lost link_open ", reopenAtOnce) + "link_lost"
	r.until(t, func() bool { return r.engineKinds(t, "link") == want && r.Link().Err != nil })
	if err := r.Link().Err; !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "is being opened again") {
		t.Errorf("unavailable: %v", err)
	}
	r.Close()
	if got := r.engineKinds(t, "link"); got != want {
		t.Errorf("on record: %s", got)
	}
}

// TestLinkThatCannotBeRepaired takes the UDP port away from a live tunnel, for good. The tunnel does
// not stay up and dead.
func TestLinkThatCannotBeRepaired(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	r := newRig(t, onTUN, byNews, func(c *Config) { c.Link.ListenPort, c.reopen = 30000, 10*time.Millisecond })
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	old, err := r.openLink()
	if err != nil {
		t.Fatal(err)
	}
	free := 0
	configure(t, wgtypes.Config{ListenPort: &free})
	taken, err := net.ListenPacket("udp", ":30000")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	ip(t, "link set borealis0 mtu 1300") // the news that make the manager look
	r.until(t, func() bool { return r.Link().Err != nil && strings.Contains(r.Link().Err.Error(), "is used by") })
	if got := r.ending(t, st.TunnelID); got != InternalError {
		t.Errorf("the tunnel ended as %s", got)
	}
	taken.Close()
	r.linkLost(t, h, st, old, "could not be put right: ")
}

// configure changes the interface as wg(8) does.
func configure(t *testing.T, c wgtypes.Config) {
	t.Helper()
	client, err := wgctrl.New()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ConfigureDevice("borealis0", c); err != nil {
		t.Fatal(err)
	}
}

// TestPortTaken opens where another program has the UDP port, until that is gone.
func TestPortTaken(t *testing.T) {
	for _, mode := range []wg.Mode{wg.Netstack, wg.TUN} {
		t.Run(string(mode), func(t *testing.T) {
			if !inNamespace(t) {
				return
			}
			taken, err := net.ListenPacket("udp", ":30000")
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()
			r := newRig(t, func(c *Config) { c.Link.Mode, c.Link.ListenPort, c.reopen = mode, 30000, 10*time.Millisecond })
			h := r.join(t) // the console is there, and agents come
			_, err = r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{})
			for _, err := range []error{err, r.Link().Err} {
				if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "UDP port 30000 is used by ") || !strings.Contains(err.Error(), "--udp-port") {
					t.Errorf("unavailable: %v", err)
				}
				if pid := "(pid " + strconv.Itoa(os.Getpid()) + ")"; !strings.Contains(err.Error(), pid) {
					t.Errorf("unavailable: %v; want it to name the program, %s", err, pid)
				}
			}
			t.Log(r.Link().Err)
			taken.Close()
			r.until(t, func() bool { return r.Link().Err == nil })
			if got := r.Link(); got.Port != 30000 {
				t.Errorf("port %d", got.Port)
			}
			r.flows(t, r.up(t, h, holder("nora")).TunnelID)
			if got := r.engineKinds(t, "link"); got != "link_open" {
				t.Errorf("on record: %s", got)
			}
		})
	}
}

// TestStartAfterKill opens where an engine was killed: with its rules, its socket and its open
// tunnel left behind.
func TestStartAfterKill(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	r := newRig(t, onTUN)
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	left, err := exec.CommandContext(t.Context(), "iptables-nft-save").Output()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	restore := exec.CommandContext(t.Context(), "iptables-nft-restore")
	restore.Stdin = strings.NewReader(string(left))
	if out, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := ownRules(t); !strings.Contains(got, "-A BRL-A-10.255.0.2") {
		t.Fatalf("nothing is left behind:\n%s", got)
	}
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: "/var/run/wireguard/borealis0.sock"})
	if err != nil {
		t.Fatal(err)
	}
	socket.SetUnlinkOnClose(false)
	socket.Close()
	open := store.Tunnel{
		ID: "0198c0de-0000-7000-8000-000000000000", DeviceID: h.device.ID, TokenID: "jti", VirtualIP: netip.MustParseAddr("10.255.0.2"),
		State: string(Up), RequestedAt: time.Now(),
	}
	did := store.Record{At: open.RequestedAt, DeviceID: h.device.ID, TunnelID: open.ID, Kind: "tunnel_requested"}
	if err := r.store.AddTunnel(t.Context(), open, open.RequestedAt.Add(time.Minute), did); err != nil {
		t.Fatal(err)
	}

	m, err := Open(t.Context(), Config{Store: r.store, Keys: r.keys, Link: r.config.Link, PublicEndpoint: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	again := &rig{m, r.store, r.keys, r.dir}
	if l := again.Link(); l.Err != nil {
		t.Fatal(l.Err)
	}
	if got := again.peers(t); got != 0 {
		t.Errorf("%d peers", got)
	}
	if got := ownRules(t); strings.Contains(got, "BRL-A-") || !strings.Contains(got, "BRL-OUT") {
		t.Errorf("rules:\n%s", got)
	}
	if row, err := r.store.Tunnel(t.Context(), open.ID); err != nil || row.State != string(Ended) || row.Reason != string(EngineRestart) {
		t.Errorf("the open tunnel: %+v, %v", row, err)
	}
	if row, err := r.store.Tunnel(t.Context(), st.TunnelID); err != nil || row.Reason != string(EngineShutdown) {
		t.Errorf("the ended tunnel: %+v, %v", row, err)
	}
	if vip, err := r.store.Lease(t.Context(), h.device.ID, netip.MustParsePrefix(DefaultPool)); err != nil || vip != st.VirtualIP {
		t.Errorf("the lease: %s, %v; want %s", vip, err, st.VirtualIP)
	}
}
