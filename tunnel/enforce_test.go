package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/acl"
	"borealis/agent/wire"
	"borealis/store"
	"borealis/tunnel/wg"
)

// echo listens on a port of this machine, which the hosts' gates lead to, and says
// back what it hears.
func echo(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); work.Wait() })
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func custom(protocol string, from, to uint16, allowed bool) acl.Override {
	return acl.Override{Port: acl.Port{Protocol: protocol, From: from, To: to}, Allowed: allowed}
}

func service(id string, allowed bool) acl.Override {
	return acl.Override{Service: id, Allowed: allowed}
}

// setPorts changes a device's ports as nora, from whatever they are.
func (r *rig) setPorts(t *testing.T, deviceID string, overrides ...acl.Override) Ports {
	t.Helper()
	have, err := r.Ports(t.Context(), deviceID)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.SetPorts(t.Context(), deviceID, have.Policy.Revision, overrides, store.Actor{Name: "nora"})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// dial opens a connection of the engine into a tunnel.
func (r *rig) dial(t *testing.T, tunnelID string, port uint16) (net.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := r.session(tunnelID).dialTCP(ctx, port)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// prove makes a proof, or joins the one that is being made.
func (r *rig) prove(t *testing.T, h *host) Proof {
	t.Helper()
	p, err := r.Prove(t.Context(), h.device.ID)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// says sends a word through an echo and reports whether it came back.
func says(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 5))
	return err
}

func TestSetPortsOnALiveTunnel(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	port := echo(t)
	one, two := r.join(t), r.join(t)
	var conns []net.Conn
	var ups []Status
	for _, h := range []*host{one, two} {
		st := r.up(t, h, holder("nora"))
		r.prove(t, h)
		got := r.setPorts(t, h.device.ID, custom(acl.TCP, port, port, true))
		if !got.Confirmed || got.TunnelID != st.TunnelID || got.Policy.Revision != 1 || !acl.Contains(got.Policy.Allowed(time.Now()), acl.TCP, port) {
			t.Errorf("after the port was opened: %+v", got)
		}
		c, err := r.dial(t, st.TunnelID, port)
		if err != nil {
			t.Fatal(err)
		}
		if err := says(c); err != nil {
			t.Fatal(err)
		}
		conns, ups = append(conns, c), append(ups, st)
	}
	r.prove(t, one) // no probe is on its way any more
	if got, err := r.Ports(t.Context(), one.device.ID); err != nil || !slices.Equal(got.Flows, []wg.Flow{{Protocol: acl.TCP, Port: port}}) {
		t.Errorf("open flows %+v, %v; want the one", got.Flows, err)
	}

	got := r.setPorts(t, one.device.ID, custom(acl.TCP, port, port, false))
	if !got.Confirmed || len(got.Flows) != 0 {
		t.Errorf("after the port was closed: %+v", got)
	}
	if err := says(conns[0]); !errors.Is(err, acl.ErrRefused) {
		t.Errorf("the flow to the closed port: %v", err)
	}
	if _, err := r.dial(t, ups[0].TunnelID, port); !errors.Is(err, acl.ErrRefused) {
		t.Errorf("a new connection to the closed port: %v", err)
	}
	if err := says(conns[1]); err != nil {
		t.Errorf("the other device's flow: %v", err)
	}
	if st, err := r.Status(t.Context(), one.device.ID); err != nil || !st.Up() || acl.Contains(st.AllowedPorts, acl.TCP, port) {
		t.Errorf("status %+v, %v", st, err)
	}

	r.setPorts(t, one.device.ID, custom(acl.TCP, port, port, true))
	c, err := r.dial(t, ups[0].TunnelID, port)
	if err != nil {
		t.Fatalf("after the port was opened again: %v", err)
	}
	if err := says(c); err != nil {
		t.Error(err)
	}
	base, open := tokenPorts(acl.Defaults("linux")), tokenPorts([]acl.Port{{Protocol: acl.TCP, From: port, To: port}})
	want := []string{
		"1 " + sprint(append(base, open...)), "2 " + sprint(base), "3 " + sprint(append(base, open...)),
	}
	if diff := cmp.Diff(want, one.policies()); diff != "" {
		t.Errorf("policies that came (-want +got):\n%s", diff)
	}
	wantActivity(t, r, one.device.ID, "device_enrolled", "agent_online", "tunnel_requested", "tunnel_up", "ports_changed", "ports_changed", "ports_changed")
}

// TestClosedByTheDeviceAlone opens a port in the engine's own guard only: the device
// still refuses it.
func TestClosedByTheDeviceAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	port := echo(t)
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	if err := r.plan.set(t.Context(), st.VirtualIP, []acl.Port{{Protocol: acl.TCP, From: port, To: port}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.dial(t, st.TunnelID, port); outcomeOf(err) != refused {
		t.Errorf("a port that the policy closes: %v", err)
	}
}

// TestPortsChangeWhileATunnelIsMade changes them after the token was signed.
func TestPortsChangeWhileATunnelIsMade(t *testing.T) {
	t.Parallel()
	port := echo(t)
	for name, c := range map[string]struct {
		before, during []acl.Override
		shell          bool
	}{
		"a port is opened":    {nil, []acl.Override{custom(acl.TCP, port, port, true)}, true},
		"the shell is closed": {nil, []acl.Override{custom(acl.TCP, port, port, true), service(acl.ShellService, false)}, false},
		"the shell is opened": {[]acl.Override{service(acl.ShellService, false)}, []acl.Override{custom(acl.TCP, port, port, true)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			h := r.join(t, func(h *host) {
				h.token = func(offered string) string { // before it is shown to the engine
					r.setPorts(t, h.device.ID, c.during...)
					return offered
				}
			})
			if c.before != nil {
				r.setPorts(t, h.device.ID, c.before...)
			}
			st := r.up(t, h, holder("nora"))
			if !acl.Contains(st.AllowedPorts, acl.TCP, port) || acl.Contains(st.AllowedPorts, acl.TCP, wire.ShellPort) != c.shell {
				t.Errorf("allowed ports %v", st.AllowedPorts)
			}
			if got := h.policies(); len(got) != 1 {
				t.Errorf("policies that came: %v, want one", got)
			}
			conn, err := r.dial(t, st.TunnelID, port)
			if err != nil {
				t.Fatal(err)
			}
			if err := says(conn); err != nil {
				t.Error(err)
			}
			p, err := r.Prove(t.Context(), h.device.ID)
			if err != nil || !p.OK() || !p.Confirmed {
				t.Errorf("proof %+v, %v", p, err)
			}
		})
	}
}

func TestTerminalOff(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	term, _, err := r.Terminal(t.Context(), holder("nora"), TerminalRequest{TunnelID: st.TunnelID})
	if err != nil {
		t.Fatal(err)
	}
	r.setPorts(t, h.device.ID, service(acl.ShellService, false))
	<-term.Done()
	if _, err := term.Exit(); !errors.Is(err, acl.ErrRefused) || !strings.Contains(err.Error(), "does not allow the shell any more") {
		t.Errorf("the terminal ended with %v", err)
	}
	for _, id := range []string{"", term.ID()} {
		if _, _, err := r.Terminal(t.Context(), holder("nora"), TerminalRequest{TunnelID: st.TunnelID, TerminalID: id}); !errors.Is(err, acl.ErrRefused) {
			t.Errorf("terminal %q: %v", id, err)
		}
	}
	if st, err := r.Status(t.Context(), h.device.ID); err != nil || !st.Up() {
		t.Errorf("the tunnel: %+v, %v", st, err)
	}
	r.setPorts(t, h.device.ID)
	if got := run(t, r, st.TunnelID, "echo $((6*7))"); !strings.Contains(got, "42") {
		t.Errorf("after it was allowed again the shell says %q", got)
	}
}

// TestAgentWithoutAShellIsNotLostAtOnce loses the control connection of a tunnel in
// which nothing can be asked whether the agent is there.
func TestAgentWithoutAShellIsNotLostAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	r.setPorts(t, h.device.ID, service(acl.ShellService, false))
	st := r.up(t, h, holder("nora"))
	h.drop()
	enough := time.NewTimer((probesLost + 1) * probeEvery)
	defer enough.Stop()
	select {
	case <-r.session(st.TunnelID).ended:
		t.Errorf("ended as %s", r.ending(t, st.TunnelID))
	case <-enough.C:
	}
	h.online(st.TunnelID)
	if st, err := r.Status(t.Context(), h.device.ID); err != nil || !st.Up() {
		t.Errorf("after it came back: %+v, %v", st, err)
	}
}

// TestPolicyIsSentAgain changes the ports while the agent is away.
func TestPolicyIsSentAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	port := echo(t)
	h := r.join(t)
	st := r.up(t, h, holder("nora"))
	h.drop()
	if got := r.setPorts(t, h.device.ID, custom(acl.TCP, port, port, true)); got.Confirmed {
		t.Error("an agent that is away confirmed")
	}
	h.online(st.TunnelID)
	r.until(t, func() bool {
		got, err := r.Ports(t.Context(), h.device.ID)
		return err == nil && got.Confirmed && got.Proof.Confirmed && got.Proof.Revision == 1
	})
	if c, err := r.dial(t, st.TunnelID, port); err != nil {
		t.Error(err)
	} else if err := says(c); err != nil {
		t.Error(err)
	}
}

// TestOneOfManyChangesIt has many change what all of them have seen.
func TestOneOfManyChangesIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	r.up(t, h, holder("nora"))
	var work sync.WaitGroup
	var won atomic.Int64
	for i := range 10 {
		work.Go(func() {
			port := uint16(20000 + i)
			_, err := r.SetPorts(t.Context(), h.device.ID, 0, []acl.Override{custom(acl.TCP, port, port, true)}, store.Actor{Name: "nora"})
			var stale *RevisionError
			switch {
			case err == nil:
				won.Store(int64(port))
			case !errors.As(err, &stale) || stale.Have.Revision != 1:
				t.Errorf("caller %d: %v", i, err)
			}
		})
	}
	work.Wait()
	st, err := r.Status(t.Context(), h.device.ID)
	if err != nil || !acl.Contains(st.AllowedPorts, acl.TCP, uint16(won.Load())) || len(h.policies()) != 1 {
		t.Errorf("%d won, open are %v, sent was %v; %v", won.Load(), st.AllowedPorts, h.policies(), err)
	}
}

// TestChangesWhileTunnelsComeAndGo leaves nothing open behind.
func TestChangesWhileTunnelsComeAndGo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.join(t)
	over := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for allowed := true; ; allowed = !allowed {
			select {
			case <-over:
				return
			default:
				r.setPorts(t, h.device.ID, custom(acl.TCP, 20000, 20000, allowed), service("vnc", !allowed))
			}
		}
	})
	for range 20 {
		st, err := r.Connect(t.Context(), h.device.ID, holder("nora"), ConnectOptions{})
		if err != nil {
			t.Error(err)
			break
		}
		if st, err = r.WaitUp(t.Context(), st.TunnelID, nil); err != nil {
			t.Errorf("%v: %+v", err, st.Timeline)
		}
		if _, err := r.Disconnect(t.Context(), h.device.ID, holder("nora"), true); err != nil {
			t.Error(err)
		}
	}
	close(over)
	work.Wait()
	if len(r.plan.plan) != 0 {
		t.Errorf("still open: %v", r.plan.plan)
	}
	st := r.up(t, h, holder("nora"))
	have, err := r.Ports(t.Context(), h.device.ID)
	if err != nil || !slices.Equal(st.AllowedPorts, have.Policy.Allowed(time.Now())) || !slices.Equal(r.plan.plan[st.VirtualIP], st.AllowedPorts) {
		t.Errorf("open are %v, the policy is %+v, %v", st.AllowedPorts, have.Policy, err)
	}
	if p := r.prove(t, h); !p.OK() || !p.Confirmed {
		t.Errorf("proof %+v", p)
	}
}
