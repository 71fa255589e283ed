package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"borealis/acl"
	"borealis/agent/checkup"
	"borealis/agent/wire"
	"borealis/store"
)

// A findings is a diagnosis by the name of what was looked at.
type findings map[string]checkup.Finding

func (r *rig) diagnosed(t *testing.T, deviceID string) (findings, []string) {
	t.Helper()
	began := time.Now()
	all, err := r.Diagnose(t.Context(), deviceID)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d findings in %s", len(all), time.Since(began))
	byName, names := findings{}, []string{}
	for _, f := range all {
		if _, twice := byName[f.Name]; twice {
			t.Errorf("%q is there twice", f.Name)
		}
		if f.Detail == "" || !f.OK && f.Hint == "" {
			t.Errorf("nothing to read or to do: %+v", f)
		}
		byName[f.Name], names = f, append(names, f.Name)
	}
	return byName, names
}

// says checks one finding.
func (f findings) says(t *testing.T, name string, ok bool, detail string) {
	t.Helper()
	got, there := f[name]
	if !there || got.OK != ok || !strings.Contains(got.Detail, detail) {
		t.Errorf("%s is %+v (there: %v), want %v and %q", name, got, there, ok, detail)
	}
}

// unwell are the names of what is to be mended.
func (f findings) unwell() (names []string) {
	for name, one := range f {
		if !one.OK {
			names = append(names, name)
		}
	}
	return names
}

// TestDiagnoseUp: through a tunnel that works, each allowed port is told from each other, and from
// what the policy denies.
func TestDiagnoseUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	answers, empty, quiet, shut := echo(t), nobody(t), nobody(t), nobody(t)
	h := r.join(t)
	r.up(t, h, holder("nora"))
	var overrides []acl.Override
	for _, off := range []string{"vnc", "webrtc", "ssh"} { // what this machine has there is not known
		overrides = append(overrides, service(off, false))
	}
	off := custom("tcp", shut, shut, false)
	off.Reason = "patch day"
	r.setPorts(t, h.device.ID, append(overrides,
		custom("tcp", answers, answers, true), custom("tcp", empty, empty, true), custom("udp", quiet, quiet, true), off)...)
	found, names := r.diagnosed(t, h.device.ID)
	tcp := func(p uint16) string { return fmt.Sprintf("port %d/tcp", p) }
	found.says(t, "device", true, "active")
	found.says(t, "agent", true, "online for")
	found.says(t, "engine link", true, "UDP port")
	found.says(t, "firewall", true, "inside the engine")
	found.says(t, "audit trail", true, "written")
	found.says(t, "local policy", true, "none")
	found.says(t, "tunnel", true, "up for")
	found.says(t, "handshake", true, "the last one was")
	found.says(t, "UDP", true, "both ways")
	found.says(t, tcp(wire.ShellPort), true, "answers")
	found.says(t, "shell banner", true, "SSH-2.0-")
	found.says(t, tcp(answers), true, "answers")
	found.says(t, tcp(empty), false, "nobody listens there")
	found.says(t, tcp(shut), true, "closed by policy, by nora (patch day)")
	found.says(t, "port 22/tcp", true, "SSH: closed by policy, by nora")
	if hint := found["port 22/tcp"].Hint; !strings.Contains(hint, "Advanced Config") {
		t.Errorf("what to do about a closed port: %q", hint)
	}
	if found["shell banner"].Took <= 0 || found[tcp(answers)].Took <= 0 {
		t.Error("the probes took no time")
	}
	const order = "device agent engine link firewall audit trail local policy tunnel handshake UDP port 47002/tcp shell banner"
	if got := strings.Join(names, " "); !strings.HasPrefix(got, order) {
		t.Errorf("the order is %s", got)
	}
	if st, err := r.Status(t.Context(), h.device.ID); err != nil || !st.Up() {
		t.Errorf("afterwards the tunnel is %+v, %v", st, err)
	}
}

// blackHole takes datagrams and answers none; with a way on, it passes them there.
func blackHole(t *testing.T) (endpoint string, on func(to string)) {
	t.Helper()
	in, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	out, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var next *net.UDPAddr
	var work sync.WaitGroup
	work.Go(func() {
		b := make([]byte, 2048)
		for {
			n, _, err := in.ReadFromUDP(b)
			if err != nil {
				return
			}
			mu.Lock()
			if next != nil {
				_, _ = out.WriteToUDP(b[:n], next)
			}
			mu.Unlock()
		}
	})
	t.Cleanup(func() { in.Close(); out.Close(); work.Wait() })
	return in.LocalAddr().String(), func(to string) {
		mu.Lock()
		defer mu.Unlock()
		if next, err = net.ResolveUDPAddr("udp", to); err != nil {
			t.Error(err)
		}
	}
}

// TestDiagnoseBlocked: a network that blocks UDP, out or back, is told from a policy that denies.
func TestDiagnoseBlocked(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"out", "back", "policy"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			endpoint, on := blackHole(t)
			r := newRig(t, func(c *Config) {
				if way != "policy" {
					c.PublicEndpoint = endpoint
				}
			})
			if way == "back" {
				on(fmt.Sprintf("127.0.0.1:%d", r.Link().Port))
			}
			h := r.join(t)
			r.setPorts(t, h.device.ID, service(acl.ShellService, false), service("vnc", false), service("ssh", false))
			st, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want := Peered
			if way == "policy" {
				want = Up
			}
			r.until(t, func() bool { now, err := r.Status(t.Context(), h.device.ID); return err == nil && now.State == want })
			found, _ := r.diagnosed(t, h.device.ID)
			switch way {
			case "out":
				found.says(t, "handshake", false, "is blocked between device and engine")
			case "back":
				found.says(t, "handshake", false, "is blocked on the way back")
			default:
				found.says(t, "handshake", true, "the last one was")
			}
			if hint := found["handshake"].Hint; way != "policy" && !strings.Contains(hint, endpoint) {
				t.Errorf("what to do does not name %s: %s", endpoint, hint)
			}
			found.says(t, "port 47002/tcp", false, "closed by policy")
			if names := found.unwell(); len(names) != 2 && way != "policy" || len(names) != 1 && way == "policy" {
				t.Errorf("to mend are %q", names)
			}
			if _, err := r.Disconnect(t.Context(), h.device.ID, holder("nora"), true); err != nil {
				t.Fatal(err)
			}
			r.ending(t, st.TunnelID)
		})
	}
}

// TestDiagnoseSilent: however many ports do not answer, the diagnosis ends, and says of those that
// it had no time for that it had not.
func TestDiagnoseSilent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	r.up(t, h, holder("nora"))
	endpoint, _ := blackHole(t)
	port := netip.MustParseAddrPort(endpoint).Port()
	r.setPorts(t, h.device.ID, custom(acl.UDP, port, port, true))
	s, p := r.session(h.device.ID), single(acl.UDP, port)
	all := make([]triedPort, 40)
	for i := range all {
		all[i] = triedPort{row: acl.Row{Ports: []acl.Port{p}, Allowed: true}, port: p}
	}
	ctx, cancel := context.WithTimeout(t.Context(), probeTimeout/4)
	defer cancel()
	s.tryPorts(ctx, all)
	for _, one := range all {
		if one.outcome != notTried {
			t.Fatalf("%s is %d in no time", one.port, one.outcome)
		}
	}
	found, _ := r.diagnosed(t, h.device.ID)
	found.says(t, "port "+p.String(), true, "no answer, which many UDP services")
	x := &diagnosis{manager: r.Manager, now: time.Now()}
	x.ports(&examined{session: s, tried: all})
	if !checkup.AllOK(x.all[:len(all)]) || !strings.Contains(x.all[0].Detail, "not tried") {
		t.Errorf("it says %+v", x.all[0])
	}
}

// TestDiagnoseStaged: each thing that keeps people from a device is found, in its place.
func TestDiagnoseStaged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, err := r.Diagnose(t.Context(), "nobody"); !errors.Is(err, ErrUnknownDevice) {
		t.Errorf("of an unknown device: %v", err)
	}
	pending, _ := r.device(t, "pending", func(c *store.Code) { c.AutoApprove = false })
	found, _ := r.diagnosed(t, pending.ID)
	found.says(t, "device", false, "waits for approval")
	found.says(t, "agent", false, "device is offline, last seen")
	found.says(t, "last tunnel", true, "none yet")
	found.says(t, "ports", true, "are allowed")
	for state, want := range map[string]string{store.Quarantined: "set aside", store.Revoked: "revoked for good"} {
		d, _ := r.device(t, state)
		if err := r.store.SetDeviceState(t.Context(), d.ID, state, time.Now(), store.Record{}); err != nil {
			t.Fatal(err)
		}
		found, _ := r.diagnosed(t, d.ID)
		found.says(t, "device", false, want)
	}

	h := r.join(t, func(h *host) { h.mute = true })
	if err := h.channel.Receive(t.Context(), wire.FromAgent{Inventory: &wire.Inventory{Limits: []string{"Never 3389/tcp."}}}); err != nil {
		t.Fatal(err)
	}
	r.until(t, func() bool {
		i, _, err := r.Inventory(t.Context(), h.device.ID)
		return err == nil && len(i.Limits) == 1
	})
	found, _ = r.diagnosed(t, h.device.ID)
	found.says(t, "local policy", true, "Never 3389/tcp.")
	found.says(t, "agent", true, "older than this engine") // the host speaks protocol 0
	st, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found, _ = r.diagnosed(t, h.device.ID)
	found.says(t, "tunnel", true, "the agent was asked")
	if err := h.channel.Receive(t.Context(), wire.FromAgent{Refused: &wire.Refused{Tunnel: st.TunnelID, Reason: wire.LocalPolicy, Detail: "not at this hour"}}); err != nil {
		t.Fatal(err)
	}
	r.ending(t, st.TunnelID)
	r.until(t, func() bool { return r.session(h.device.ID) == nil })
	found, _ = r.diagnosed(t, h.device.ID)
	found.says(t, "last tunnel", false, "the device's own policy does not allow it (the agent refused: not at this hour)")

	if err := r.store.AddLock(t.Context(), store.Lock{Kind: store.LockDevice, Target: h.device.ID, Reason: "audit"}, store.Record{}); err != nil {
		t.Fatal(err)
	}
	found, _ = r.diagnosed(t, h.device.ID)
	found.says(t, "device", false, "the device is locked: audit")
	trail := r.saboteur(t)
	trail.spoil()
	h.drop() // going offline cannot be recorded
	r.until(t, func() bool { return r.Recording() != nil })
	found, _ = r.diagnosed(t, h.device.ID)
	found.says(t, "audit trail", false, "cannot be written")
	found.says(t, "agent", false, "offline, last seen")
	trail.mend()
	r.until(t, func() bool { return r.Recording() == nil })
}

// TestDiagnoseLinkLost: without a WireGuard interface, that is what is found.
func TestDiagnoseLinkLost(t *testing.T) {
	t.Parallel()
	taken, err := net.ListenUDP("udp", &net.UDPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := newRig(t, func(c *Config) { c.Link.ListenPort = taken.LocalAddr().(*net.UDPAddr).Port })
	d, _ := r.device(t, "PC")
	found, _ := r.diagnosed(t, d.ID)
	found.says(t, "engine link", false, "is used by")
}

// TestRemedies: every reason there is has words, and every fault says what to do.
func TestRemedies(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("reason.go")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?m)^\t\w+ +Reason = "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	if len(named) != len(remedies) || len(named) < 19 {
		t.Errorf("%d reasons, and words for %d", len(named), len(remedies))
	}
	for _, n := range named {
		if end := remedies[Reason(n[1])]; end.what == "" || end.fault && end.do == "" {
			t.Errorf("%s: %+v", n[1], end)
		}
	}
	if do := remedies[DeviceRevoked].do; !strings.Contains(do, "with a new key") || strings.Contains(do, "new code") { // it is for good
		t.Errorf("a revoked device comes back by %q", do)
	}
}

// TestMeantEnds: what somebody meant is no fault.
func TestMeantEnds(t *testing.T) {
	t.Parallel()
	var meant []Reason
	for _, r := range Reasons() {
		_, _, fault := r.Explain()
		if r.Meant() {
			meant = append(meant, r)
			if fault {
				t.Errorf("%s is a fault that somebody meant", r)
			}
		}
	}
	if want := []Reason{OperatorDisconnect, OperatorLeft, OperatorForceStop, AgentShutdown, EngineShutdown}; !slices.Equal(meant, want) {
		t.Errorf("meant are %v, want %v", meant, want)
	}
}
