package tunnel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"borealis/acl"
	"borealis/store"
	"borealis/tunnel/wg"
	"borealis/tunnel/wg/nstest"
)

// inNamespace takes the test to where TUN devices and iptables can be used.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if !nstest.Run(t) {
		return false
	}
	nstest.TUN(t)
	if _, err := exec.LookPath("iptables-nft-restore"); err != nil {
		nstest.Skip(t, "iptables is not installed")
	}
	return true
}

func onTUN(c *Config) { c.Link.Mode = wg.TUN }

// rules are the rules of this host that belong to the engine.
func ownRules(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "iptables-nft-save").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var own strings.Builder
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "BRL-") {
			own.WriteString(line)
		}
	}
	return own.String()
}

func iptables(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "iptables-nft", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// breakable puts a program before iptables-nft-restore that fails while a file is there.
func breakable(t *testing.T) (file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "broken")
	for _, program := range []string{"iptables-nft-restore", "ip6tables-nft-restore"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Fatal(err)
		}
		script := "#!/bin/sh\nif [ -e " + file + " ]; then echo out of order >&2; exit 1; fi\nexec " + path + " \"$@\"\n"
		if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return file
}

// engineKinds are what is on record of the firewall, or of the link, oldest first.
func (r *rig) engineKinds(t *testing.T, about string) string {
	t.Helper()
	var kinds []string
	for _, a := range r.records(t, store.RecordQuery{}) {
		if strings.HasPrefix(a.Kind, about+"_") {
			kinds = append(kinds, a.Kind)
		}
	}
	return strings.Join(kinds, " ")
}

func TestFirewallFollowsTheTunnels(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	r := newRig(t, onTUN)
	port := echo(t)
	h := r.join(t)
	if l, f := r.Link(), r.Firewall(); l.Err != nil || l.Mode != wg.TUN || f.Kind != "iptables" || f.Err != nil || !f.RepairedAt.IsZero() {
		t.Fatalf("link %+v, firewall %+v", l, f)
	}
	if got := ownRules(t); !strings.Contains(got, "BRL-OUT") || strings.Contains(got, "BRL-A-") {
		t.Errorf("before any tunnel:\n%s", got)
	}
	st := r.up(t, h, holder("nora"))
	if got := ownRules(t); !strings.Contains(got, "-A BRL-A-10.255.0.2") {
		t.Errorf("of a live tunnel:\n%s", got)
	}
	r.setPorts(t, h.device.ID, custom(acl.TCP, port, port, true))
	p := r.prove(t, h)
	if !p.OK() || p.By != "iptables" || p.Refused < 50 || len(p.Closed) != sampleSize || results(p)[single(acl.TCP, port).String()] != Answers {
		t.Errorf("proof %+v", p)
	}
	c, err := net.Dial("tcp", netip.AddrPortFrom(st.VirtualIP, port).String()) // a flow that is not the engine's own
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := says(c); err != nil {
		t.Fatal(err)
	}
	r.setPorts(t, h.device.ID, custom(acl.TCP, port, port, false))
	if err := says(c); outcomeOf(err) != refused {
		t.Errorf("the flow to the closed port: %v", err)
	}
	if p := r.prove(t, h); !p.OK() {
		t.Errorf("proof %+v", p)
	}
	if _, err := r.Disconnect(t.Context(), h.device.ID, holder("nora"), false); err != nil {
		t.Fatal(err)
	}
	if got := ownRules(t); strings.Contains(got, "BRL-A-") {
		t.Errorf("after the tunnel:\n%s", got)
	}
	r.Close()
	if got := ownRules(t); got != "" {
		t.Errorf("after the manager was closed:\n%s", got)
	}
}

func TestRulesThatSomebodyRemovesComeBack(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	r := newRig(t, onTUN)
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	r.prove(t, h)
	before := ownRules(t)
	iptables(t, "-F")
	r.until(t, func() bool { return !r.Firewall().RepairedAt.IsZero() })
	if f := r.Firewall(); f.Err != nil || f.Detail == "" {
		t.Errorf("firewall %+v", f)
	}
	if got := ownRules(t); len(got) != len(before) {
		t.Errorf("rules\n%s\nbefore\n%s", got, before)
	}
	r.until(t, func() bool { return r.engineKinds(t, "firewall") == "firewall_repaired" })
	if p := r.prove(t, h); !p.OK() {
		t.Errorf("proof %+v", p)
	}
	if got, err := r.Status(t.Context(), h.device.ID); err != nil || !got.Up() || got.TunnelID != st.TunnelID {
		t.Errorf("the tunnel %+v, %v", got, err)
	}
}

func TestLostFirewallEndsEveryTunnel(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	broken := breakable(t)
	r := newRig(t, onTUN)
	var ids []string
	hosts := []*host{r.join(t), r.join(t), r.join(t)}
	for _, h := range hosts {
		ids = append(ids, r.up(t, h, holder("nora")).TunnelID)
	}
	i, err := r.openLink()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(broken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	iptables(t, "-F")
	r.until(t, func() bool { return r.Link().Err != nil })
	for _, id := range ids {
		if got := r.ending(t, id); got != FirewallLost {
			t.Errorf("ended as %s", got)
		}
		if row, err := r.store.Tunnel(t.Context(), id); err != nil || row.ReceivedBytes == 0 {
			t.Errorf("its counters are lost: %+v, %v", row, err)
		}
	}
	if peers, err := i.Peers(); err != nil || len(peers) != 0 {
		t.Errorf("peers %v, %v", peers, err)
	}
	if f := r.Firewall(); f.Err == nil || f.Kind != "iptables" {
		t.Errorf("firewall %+v", f)
	}
	if _, err := r.Connect(t.Context(), hosts[0].device.ID, holder("nora"), ConnectOptions{}); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "packet filter") {
		t.Errorf("connect: %v", err)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	r.until(t, func() bool { return r.Link().Err == nil })
	if got := ownRules(t); strings.Contains(got, "BRL-A-") || !strings.Contains(got, "BRL-OUT") {
		t.Errorf("rules of tunnels that are gone:\n%s", got)
	}
	r.until(t, func() bool { return r.engineKinds(t, "firewall") == "firewall_lost firewall_restored" })
	r.up(t, hosts[0], holder("nora"))
	if p := r.prove(t, hosts[0]); !p.OK() {
		t.Errorf("proof %+v", p)
	}
}

// TestRefusedChangeEndsTheTunnel changes ports that the host's firewall does not take.
func TestRefusedChangeEndsTheTunnel(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	broken := breakable(t)
	r := newRig(t, onTUN)
	h, other := r.join(t), r.join(t)
	st, stays := r.up(t, h, holder("nora")), r.up(t, other, holder("nora"))
	if err := os.WriteFile(broken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := r.setPorts(t, h.device.ID, service("vnc", false))
	if got.Policy.Revision != 1 || got.TunnelID != "" {
		t.Errorf("%+v", got)
	}
	os.Remove(broken)
	if got := r.ending(t, st.TunnelID); got != FirewallLost {
		t.Errorf("ended as %s", got)
	}
	if got := r.session(stays.TunnelID); got == nil || got.closing() {
		t.Error("another tunnel ended")
	}
}

// TestBlockedByTheHost has another program of the host refuse a port that is allowed.
func TestBlockedByTheHost(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	r := newRig(t, onTUN)
	port := echo(t)
	h := r.join(t)
	r.up(t, h, holder("nora"))
	r.setPorts(t, h.device.ID, custom(acl.TCP, port, port, true))
	r.prove(t, h)
	iptables(t, "-t", "raw", "-A", "OUTPUT", "-o", "borealis0", "-p", "tcp", "--dport", fmt.Sprint(port), "-j", "DROP")
	p := r.prove(t, h)
	if results(p)[single(acl.TCP, port).String()] != Blocked || p.OK() {
		t.Errorf("proof %+v", p)
	}
}

// TestWithoutIPTables runs open in no mode.
func TestWithoutIPTables(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	if err := unix.Mount("tmpfs", "/usr/sbin", "tmpfs", 0, ""); err != nil { // this test's own
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	auto := newRig(t, func(c *Config) { c.Link.Mode = wg.Auto })
	if l, f := auto.Link(), auto.Firewall(); l.Err != nil || l.Mode != wg.Netstack || !strings.Contains(l.Reason, "iptables is not installed") || f.Kind != "none" || f.Err != nil {
		t.Errorf("link %+v, firewall %+v", l, f)
	}
	t.Log(auto.Link().Reason)
	h := auto.join(t)
	auto.up(t, h, holder("nora"))
	tun := newRig(t, onTUN)
	if l, f := tun.Link(), tun.Firewall(); !errors.Is(l.Err, ErrUnavailable) || !strings.Contains(l.Err.Error(), "iptables is not installed") || f.Err == nil {
		t.Errorf("link %+v, firewall %+v", l, f)
	}
	t.Log(tun.Link().Err)
	h = tun.join(t)
	if _, err := tun.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("connect: %v", err)
	}
}
